import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import { EntryCursor, type EntryList } from "../../tar/entry-list.js";
import { BLOCK } from "./block-file.js";
import { DOTS, type Fill, fillWith, RECORD_ROOM, recordLength } from "./directory.js";
import { indexedBlockCount, MAX_INDEXED } from "./directory-index.js";
import { treeBlocks } from "./extents.js";
import { storeXattrs } from "./xattrs.js";

export const LOST_AND_FOUND = "lost+found";
/** fsck wants room in it without having to allocate any. */
const LOST_AND_FOUND_BLOCKS = 4;

const LONGEST_NAME = 255;
/** A target up to here is in the inode. */
export const LONGEST_INLINE_TARGET = 59;
const LONGEST_TARGET = BLOCK - 1;
/** Larger numbers have no place in an inode. */
const DEVICE_LIMITS = { major: 2 ** 12, minor: 2 ** 20 };

export interface PlannedDirectory {
  /** Index of the one it is in; the root is in itself. */
  readonly parent: number;
  readonly children: number;
  readonly subdirectories: number;
  readonly blocks: number;
  /** Of a directory of one block it would be of no use; lost+found is not looked into. */
  readonly hasIndex: boolean;
}

/** A directory while its children are counted. */
interface Counted extends Fill {
  readonly parent: number;
  children: number;
  subdirectories: number;
  /** All records of its children. */
  bytes: number;
}

export const ROOT = 0;
export const LOST = 1;

/** Path of an entry that is a further name of a file → that of its first one, which is an entry before it, and no directory. */
export type HardLinks = ReadonlyMap<ByteString, ByteString>;

const NO_LINKS: HardLinks = new Map();

/** What a tree needs of a file system, found without reading a file. */
export interface TreePlan {
  /** Of each entry, in order, the index of the directory it is in. */
  readonly parents: Uint32Array;
  /** The root, lost+found, then in the order of the entries. */
  readonly directories: readonly PlannedDirectory[];
  readonly links: HardLinks;
  /** Of each file with further names by its first one, how many they are. */
  readonly furtherNames: ReadonlyMap<ByteString, number>;
  /** Inodes beside those that every file system has. */
  readonly inodes: number;
  /** Blocks of directories, symlinks, files and extended attributes at most: those of a file that are all zeros are not stored. */
  readonly blocks: number;
}

/**
 * Checks that ext4 can hold these entries, and counts what they need.
 * @throws OciNixError `invalid-input` for a name, target or place that no file system has; `unsupported` for what ext4 cannot hold
 */
export function planTree(entries: EntryList, links = NO_LINKS): TreePlan {
  const parents = new Uint32Array(entries.count);
  const counted = [newDirectory(ROOT), newDirectory(ROOT)];
  const byPath = new Map<ByteString, number>([["", ROOT]]);
  addChild(counted[ROOT] as Counted, LOST_AND_FOUND, true);
  let inodes = 0;
  let blocks = 0;
  const cursor = new EntryCursor(entries);
  for (let i = 0; cursor.next(); i++) {
    const { path, type } = cursor;
    if (storeXattrs(cursor)?.block !== undefined && !links.has(path)) blocks++;
    if (path === "") {
      if (type !== "directory") throw refused(cursor, "the root must be a directory");
      continue;
    }
    const slash = path.lastIndexOf("/");
    const parent = byPath.get(slash === -1 ? "" : path.slice(0, slash));
    const name = path.slice(slash + 1);
    if (parent === undefined) throw refused(cursor, "its directory is not in the tree before it");
    checkEntry(cursor, name);
    parents[i] = parent;
    if (path === LOST_AND_FOUND) {
      if (type !== "directory") throw refused(cursor, "ext4 needs a directory of that name");
      byPath.set(path, LOST);
      continue;
    }
    addChild(counted[parent] as Counted, name, type === "directory");
    if (links.has(path)) continue;
    inodes++;
    if (type === "directory") byPath.set(path, counted.push(newDirectory(parent)) - 1);
    else if (type === "symlink") blocks += cursor.linkTarget.length > LONGEST_INLINE_TARGET ? 1 : 0;
    else blocks += fileBlocks(cursor.size);
  }
  const directories = counted.map(planDirectory);
  for (const directory of directories) blocks += directory.blocks + treeBlocks(extentsOf(directory.blocks));
  return { parents, directories, links, furtherNames: countNames(links), inodes, blocks };
}

/** Names that one file can have. */
const MOST_NAMES = 65_000;

function countNames(links: HardLinks): ReadonlyMap<ByteString, number> {
  const counts = new Map<ByteString, number>();
  for (const target of links.values()) {
    const count = (counts.get(target) ?? 0) + 1;
    if (count === MOST_NAMES) {
      throw new OciNixError(
        "unsupported",
        `/${displayBytes(target)} has more than ${MOST_NAMES} names, and ext4 has room for no more`,
      );
    }
    counts.set(target, count);
  }
  return counts;
}

const newDirectory = (parent: number): Counted => ({
  parent,
  children: 0,
  subdirectories: 0,
  bytes: 0,
  blocks: 1,
  used: DOTS,
});

function addChild(directory: Counted, name: ByteString, isDirectory: boolean): void {
  directory.children++;
  if (isDirectory) directory.subdirectories++;
  directory.bytes += recordLength(name.length);
  fillWith(directory, name.length);
}

function planDirectory({ parent, children, subdirectories, bytes, blocks }: Counted, index: number): PlannedDirectory {
  const common = { parent, children, subdirectories };
  if (index === LOST) return { ...common, blocks: Math.max(blocks, LOST_AND_FOUND_BLOCKS), hasIndex: false };
  if (DOTS + bytes <= RECORD_ROOM) return { ...common, blocks: 1, hasIndex: false };
  if (bytes > MAX_INDEXED) {
    throw new OciNixError("limit", `a directory of the tree has ${children} files, and ext4 has no index for so many`);
  }
  return { ...common, blocks: indexedBlockCount(bytes), hasIndex: true };
}

/** Blocks of a file of so many bytes, with those of its extent tree. */
function fileBlocks(size: number): number {
  const blocks = Math.ceil(size / BLOCK);
  return blocks + treeBlocks(extentsOf(blocks));
}

/** Extents at most, as long as free space is divided by nothing but the begins of groups: half of each is free, or more. */
function extentsOf(blocks: number): number {
  return Math.ceil(blocks / 16_384) + 1;
}

function checkEntry(cursor: EntryCursor, name: ByteString): void {
  const { type, linkTarget, device } = cursor;
  if (name === "" || name === "." || name === ".." || name.includes("\0"))
    throw refused(cursor, "no file has such a name");
  if (name.length > LONGEST_NAME) {
    throw refused(cursor, `its name has ${name.length} bytes, and ext4 has room for ${LONGEST_NAME}`);
  }
  if (type === "symlink") {
    if (linkTarget === "" || linkTarget.includes("\0")) throw refused(cursor, "no symlink has such a target");
    if (linkTarget.length > LONGEST_TARGET) {
      throw refused(cursor, `its target has ${linkTarget.length} bytes, and ext4 has room for ${LONGEST_TARGET}`);
    }
  }
  if (type === "character" || type === "block") {
    const { major, minor } = device ?? { major: 0, minor: 0 };
    if (major >= DEVICE_LIMITS.major || minor >= DEVICE_LIMITS.minor) {
      throw refused(cursor, `ext4 cannot hold a device with the numbers ${major}, ${minor}`);
    }
  }
}

function refused(cursor: EntryCursor, why: string): OciNixError {
  return new OciNixError("invalid-input", `/${displayBytes(cursor.path)} cannot be in a file system: ${why}`);
}
