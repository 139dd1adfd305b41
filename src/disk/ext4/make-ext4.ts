import type { WriteProgress } from "../../core/block-writer.js";
import { OciNixError } from "../../core/errors.js";
import { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { EntryList } from "../../tar/entry-list.js";
import type { Region } from "../region.js";
import type { DiskTools } from "../tools.js";
import { BLOCK, BlockFile } from "./block-file.js";
import { decodeExtents } from "./extents.js";
import { BlockGroups } from "./groups.js";
import { inodeBlock, LOST_AND_FOUND_INODE, ROOT_INODE } from "./inode.js";
import { InodeTable } from "./inode-table.js";
import { planTree } from "./plan.js";
import { Populate } from "./populate.js";
import { checkRoom } from "./room.js";

export interface Ext4Options {
  /** At most 16 bytes of UTF-8. */
  readonly label: string;
  /** In lower case. */
  readonly uuid: string;
  /** Leaves no blocks to root alone, and makes no more inodes than the tree needs. */
  readonly minimise?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Counts up while entries are written. */
  readonly progress?: WriteProgress | undefined;
}

const LONGEST_LABEL = 16;

/**
 * Makes an ext4 file system of a tree in a region of a file, which must be there and hold nothing but zeros. The same entries give the same
 * bytes, whoever runs it, wherever and whenever, with the same version of mke2fs.
 *
 * mke2fs makes the empty file system; the tree is written by ourselves, straight to its place. All times are 1. `lost+found` stays; it has the
 * mode and owner of the entry of that name where there is one.
 *
 * @throws OciNixError `limit` where it has too little room, before anything is written unless that depends on blocks of zeros;
 *   `invalid-input` for what ext4 cannot hold; `changed`, `unreadable` or `not-found` for files that it was to hold; `output`
 */
export async function makeExt4(
  region: Region,
  entries: EntryList,
  options: Ext4Options,
  tools: DiskTools,
): Promise<void> {
  const { label, uuid, minimise = false, signal, progress = { bytes: 0, entries: 0 } } = options;
  if (Buffer.byteLength(label) > LONGEST_LABEL) {
    throw new OciNixError("invalid-input", `the label ${JSON.stringify(label)} is longer than ${LONGEST_LABEL} bytes`);
  }
  const plan = planTree(entries);
  const args = ["-q", "-F", "-t", "ext4", "-b", `${BLOCK}`, "-I", "256", "-L", label, "-U", uuid];
  if (minimise) args.push("-m", "0", "-N", `${plan.inodes + LOST_AND_FOUND_INODE}`);
  const extended = [
    `offset=${region.offset}`,
    `hash_seed=${uuid}`,
    "root_owner=0:0",
    "nodiscard",
    "lazy_itable_init=0",
    "lazy_journal_init=0",
  ];
  const blocks = Math.floor(region.size / BLOCK);
  await tools.run("mke2fs", [...args, "-E", extended.join(","), region.file, `${blocks * (BLOCK / 1024)}K`]);
  const file = new BlockFile(region);
  try {
    const groups = new BlockGroups(file);
    const table = new InodeTable(file, groups);
    table.settleReserved(LOST_AND_FOUND_INODE);
    // Both are written again, in as many blocks as they need.
    for (const inode of [ROOT_INODE, LOST_AND_FOUND_INODE]) {
      for (const { start, count } of decodeExtents(inodeBlock(table.read(inode)))) groups.free(start, count);
    }
    checkRoom(entries, plan, { inodes: groups.inodes - LOST_AND_FOUND_INODE, blocks: groups.freeBlocks });
    const populate = new Populate(file, groups, plan);
    await populate.run(entries, new EventLoopTurns(signal), progress);
    groups.finish();
  } finally {
    file.close();
  }
}
