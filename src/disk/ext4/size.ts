import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EntryCursor, type EntryList } from "../../tar/entry-list.js";
import type { Region } from "../region.js";
import type { DiskTools } from "../tools.js";
import { BLOCK, BlockFile } from "./block-file.js";
import { formatExt4, hasInodesFor, inodesFor, takeOver } from "./format.js";
import { BlockGroups } from "./groups.js";
import { type HardLinks, planTree } from "./plan.js";
import { storeXattrs } from "./xattrs.js";

const BLOCKS_PER_FILE = 2;
/** Of a thousand: what make-disk-image adds for blocks that only root may use. */
const RESERVED = 52;
/** Below, mke2fs makes no journal. */
const LEAST_BLOCKS = 2048;
/** The journal may stand where a file would be in one piece: its extents take more room than planned then. */
const SPARE_BLOCKS = 16;

/**
 * The size that make-disk-image gives a file system for these entries, without its additional space: bytes. It knows no extended attributes:
 * a block of them counts as one of a file.
 * @throws OciNixError as {@link storeXattrs}
 */
export function ext4Bytes(entries: EntryList): number {
  let blocks = 0;
  let files = 1;
  const cursor = new EntryCursor(entries);
  while (cursor.next()) {
    if (cursor.path === "") continue;
    files++;
    if (storeXattrs(cursor)?.block !== undefined) blocks++;
    blocks += Math.ceil((cursor.size + cursor.linkTarget.length) / BLOCK);
  }
  const bytes = (blocks + BLOCKS_PER_FILE * files) * BLOCK;
  return bytes + Math.floor((bytes * RESERVED) / 1000);
}

/**
 * The size that make-disk-image gives a file system for these entries, and more where that would not hold them: bytes.
 * @param additional space besides, in bytes
 * @throws OciNixError as {@link planTree}
 */
export async function automaticExt4Bytes(
  entries: EntryList,
  additional: number,
  tools: DiskTools,
  links?: HardLinks,
): Promise<number> {
  const bytes = ext4Bytes(entries) + additional;
  // Where files are many and small, inodes take what make-disk-image counts on for the files themselves.
  return hasInodesFor(entries.count, bytes) ? bytes : Math.max(bytes, await leastExt4Bytes(entries, tools, links));
}

/**
 * The least size that holds these entries where the file system is made with `minimise`, as if no file had holes: bytes, whole blocks.
 * @throws OciNixError as {@link planTree}
 */
export async function leastExt4Bytes(entries: EntryList, tools: DiskTools, links?: HardLinks): Promise<number> {
  const plan = planTree(entries, links);
  const file = join(tools.directory, "least.ext4");
  let blocks = Math.max(LEAST_BLOCKS, plan.blocks);
  // What the file system needs for itself grows with its size, by steps: mke2fs is asked.
  for (;;) {
    const region = { file, offset: 0, size: blocks * BLOCK };
    makeZeros(region);
    try {
      await formatExt4(region, { label: "", uuid: ANY_UUID, inodes: inodesFor(plan, region.size) }, tools);
      const missing = plan.blocks + SPARE_BLOCKS - freeBlocks(region);
      if (missing <= 0) return region.size;
      blocks += missing;
    } finally {
      rmSync(file, { force: true });
    }
  }
}

const ANY_UUID = "00000000-0000-4000-8000-000000000000";

function makeZeros({ file, size }: Region): void {
  const fd = openSync(file, "w");
  try {
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}

function freeBlocks(region: Region): number {
  const file = new BlockFile(region);
  try {
    const groups = new BlockGroups(file);
    takeOver(file, groups);
    return groups.freeBlocks;
  } finally {
    file.close();
  }
}
