import { resolve } from "node:path";
import { OciNixError } from "../../core/errors.js";
import type { Region } from "../region.js";
import type { DiskTools } from "../tools.js";
import { BLOCK, type BlockFile } from "./block-file.js";
import { decodeExtents } from "./extents.js";
import type { BlockGroups } from "./groups.js";
import { INODE_SIZE, inodeBlock, LOST_AND_FOUND_INODE, ROOT_INODE } from "./inode.js";
import { InodeTable } from "./inode-table.js";
import type { TreePlan } from "./plan.js";

const LONGEST_LABEL = 16;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** As many blocks have an inode, where nothing else is said. */
const BLOCKS_PER_INODE = 4;

interface FormatOptions {
  readonly label: string;
  readonly uuid: string;
  /** Inodes wanted; then no blocks are for root alone, either. By default one for every 16 KiB, and 5 % for root. */
  readonly inodes?: number | undefined;
}

/** Inodes of a file system in which a tree leaves little: those of the tree, and for what is beside it as usual. */
export function inodesFor(plan: TreePlan, bytes: number): number {
  const spare = Math.max(0, Math.floor(bytes / BLOCK) - plan.blocks);
  return plan.inodes + LOST_AND_FOUND_INODE + Math.floor(spare / BLOCKS_PER_INODE);
}

/** Bytes that mke2fs gives an inode by itself. */
const BYTES_PER_INODE = 16_384;

/** Whether a file system of a size has inodes enough for so many files where nothing is said of them. */
export function hasInodesFor(files: number, bytes: number): boolean {
  return files + LOST_AND_FOUND_INODE <= Math.floor(bytes / BYTES_PER_INODE);
}

/** Makes an empty file system in a region of zeros. @throws OciNixError `invalid-input` */
export async function formatExt4(region: Region, options: FormatOptions, tools: DiskTools): Promise<void> {
  const { label, uuid, inodes } = options;
  if (Buffer.byteLength(label) > LONGEST_LABEL || label.includes("\0")) {
    throw new OciNixError("invalid-input", `the label ${JSON.stringify(label)} is longer than ${LONGEST_LABEL} bytes`);
  }
  if (!UUID.test(uuid)) throw new OciNixError("invalid-input", `${JSON.stringify(uuid)} is no UUID in lower case`);
  const sizes = inodes === undefined ? [] : ["-m", "0", "-N", `${inodes}`];
  // In zeros there is nothing to clear.
  const extended = [
    `offset=${region.offset}`,
    `hash_seed=${uuid}`,
    "root_owner=0:0",
    "nodiscard",
    "lazy_itable_init=1",
    "lazy_journal_init=1",
  ].join(",");
  const fixed = ["-q", "-F", "-t", "ext4", "-b", `${BLOCK}`, "-I", `${INODE_SIZE}`, "-L", label, "-U", uuid];
  const length = `${Math.floor(region.size / BLOCK) * (BLOCK / 1024)}K`;
  // Tools run in a directory of their own.
  await tools.run("mke2fs", [...fixed, ...sizes, "-E", extended, resolve(region.file), length], { over: region.file });
}

/** Gives the times of inodes that mke2fs made the value of all others, and frees the blocks of root and lost+found, to be written anew. */
export function takeOver(file: BlockFile, groups: BlockGroups): void {
  const table = new InodeTable(file, groups);
  table.settleReserved(LOST_AND_FOUND_INODE);
  for (const inode of [ROOT_INODE, LOST_AND_FOUND_INODE]) {
    for (const { start, count } of decodeExtents(inodeBlock(table.read(inode)))) groups.free(start, count);
  }
}
