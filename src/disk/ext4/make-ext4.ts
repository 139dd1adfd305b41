import type { WriteProgress } from "../../core/block-writer.js";
import { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { EntryList } from "../../tar/entry-list.js";
import type { Region } from "../region.js";
import type { DiskTools } from "../tools.js";
import { BlockFile } from "./block-file.js";
import { formatExt4, hasInodesFor, inodesFor, takeOver } from "./format.js";
import { BlockGroups } from "./groups.js";
import { LOST_AND_FOUND_INODE } from "./inode.js";
import { type HardLinks, planTree } from "./plan.js";
import { Populate } from "./populate.js";
import { checkRoom } from "./room.js";

export interface Ext4Options {
  /** At most 16 bytes of UTF-8. */
  readonly label: string;
  /** In lower case. */
  readonly uuid: string;
  /** Leaves no blocks to root alone, and makes no more inodes than the tree needs; so does a tree that has more files than there would be inodes. */
  readonly minimise?: boolean | undefined;
  /** Which entries are further names of files. */
  readonly links?: HardLinks | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Counts up while entries are written. */
  readonly progress?: WriteProgress | undefined;
}

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
  const { label, uuid, minimise = false, links, signal, progress = { bytes: 0, entries: 0 } } = options;
  const plan = planTree(entries, links);
  const file = new BlockFile(region);
  try {
    const inodes = minimise || !hasInodesFor(plan.inodes, region.size) ? inodesFor(plan, region.size) : undefined;
    await formatExt4(region, { label, uuid, inodes }, tools);
    const groups = new BlockGroups(file);
    takeOver(file, groups);
    checkRoom(entries, plan, { inodes: groups.inodes - LOST_AND_FOUND_INODE, blocks: groups.freeBlocks });
    const populate = new Populate(file, groups, plan);
    await populate.run(entries, new EventLoopTurns(signal), progress);
    groups.finish();
  } finally {
    file.close();
  }
}
