import type { WriteProgress } from "../../core/block-writer.js";
import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { EventLoopTurns } from "../../core/event-loop-turns.js";
import { EntryCursor, type EntryList, type EntryType } from "../../tar/entry-list.js";
import { BlockAllocator, type Run } from "./allocator.js";
import { BLOCK, type BlockFile } from "./block-file.js";
import { type Child, plainBlocks } from "./directory.js";
import { indexedBlocks } from "./directory-index.js";
import { type Extent, ExtentList, encodeExtents } from "./extents.js";
import { dataOf } from "./file-contents.js";
import type { BlockGroups } from "./groups.js";
import {
  EXTENTS_FLAG,
  encodeInode,
  INDEX_FLAG,
  type Inode,
  inodeSeed,
  LOST_AND_FOUND_INODE,
  ROOT_INODE,
} from "./inode.js";
import { InodeTable } from "./inode-table.js";
import { LONGEST_INLINE_TARGET, LOST, LOST_AND_FOUND, type PlannedDirectory, ROOT, type TreePlan } from "./plan.js";
import { sealXattrBlock, storeXattrs } from "./xattrs.js";

const READ_BUFFER = 256 * 1024;
/** More links than ext4 counts are said as one. */
const MAX_LINKS = 65_000;
const MANY_LINKS = 1;

/**
 * Writes a tree into a file system that is empty but for its lost+found. Directories come first, then files in the order of the entries, each in
 * one piece as far as there is room, so that the same entries give the same bytes.
 */
export class Populate {
  readonly #file: BlockFile;
  readonly #groups: BlockGroups;
  readonly #plan: TreePlan;
  readonly #allocator: BlockAllocator;
  readonly #table: InodeTable;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BUFFER);
  /** Blocks of all directories one after the other, and where each begins among them. */
  readonly #area: Run[] = [];
  readonly #offsets: Float64Array;
  readonly #inodes: Uint32Array;
  /** Directories whose children have not all come yet. */
  readonly #open = new Map<number, Map<ByteString, Child>>();
  /** Inodes of files with further names, by the first one. */
  readonly #named = new Map<ByteString, number>();

  /** @param groups in which the blocks of root and lost+found are free */
  constructor(file: BlockFile, groups: BlockGroups, plan: TreePlan) {
    this.#file = file;
    this.#groups = groups;
    this.#plan = plan;
    this.#allocator = new BlockAllocator(groups.used);
    this.#table = new InodeTable(file, groups);
    this.#offsets = new Float64Array(plan.directories.length);
    this.#inodes = new Uint32Array(plan.directories.length);
    let blocks = 0;
    for (const [i, directory] of plan.directories.entries()) {
      this.#offsets[i] = blocks;
      blocks += directory.blocks;
    }
    this.#area.push(...this.#takeAll(blocks));
  }

  async run(entries: EntryList, turns: EventLoopTurns, progress: WriteProgress): Promise<void> {
    let root: Attributes = { type: "directory", mode: 0o755, uid: 0, gid: 0 };
    let lostAndFound: Attributes = { ...root, mode: 0o700 };
    this.#inodes[ROOT] = ROOT_INODE;
    this.#inodes[LOST] = LOST_AND_FOUND_INODE;
    this.#addDirectory(ROOT);
    this.#addDirectory(LOST);
    this.#addChild(ROOT, LOST_AND_FOUND_INODE, LOST_AND_FOUND, "directory");
    let nextInode = LOST_AND_FOUND_INODE;
    let nextDirectory = LOST;
    const cursor = new EntryCursor(entries);
    for (let i = 0; cursor.next(); i++) {
      const { path, type, mode, owner } = cursor;
      const attributes = { type, mode, uid: owner.uid, gid: owner.gid, xattrs: storeXattrs(cursor) };
      if (path === "") root = attributes;
      else if (path === LOST_AND_FOUND) lostAndFound = attributes;
      else if (this.#plan.links.has(path)) this.#addName(this.#plan.parents[i] as number, path, type);
      else {
        const inode = ++nextInode;
        this.#groups.useInode(inode, type === "directory");
        this.#addChild(this.#plan.parents[i] as number, inode, path, type);
        if (type === "directory") {
          this.#inodes[++nextDirectory] = inode;
          this.#addDirectory(nextDirectory);
          this.#putDirectoryInode(nextDirectory, attributes);
        } else {
          const further = this.#plan.furtherNames.get(path);
          if (further !== undefined) this.#named.set(path, inode);
          await this.#addOther(cursor, inode, { ...attributes, links: 1 + (further ?? 0) }, turns);
        }
      }
      progress.entries++;
      progress.bytes += cursor.size;
      const due = turns.next();
      if (due !== undefined) await due;
    }
    this.#putDirectoryInode(ROOT, root);
    this.#putDirectoryInode(LOST, lostAndFound);
    this.#table.flush();
    this.#file.flush();
  }

  /** A further name of a file. */
  #addName(directory: number, path: ByteString, type: EntryType): void {
    const inode = this.#named.get(this.#plan.links.get(path) ?? "");
    if (inode === undefined) throw new Error("a hard link comes before what it leads to");
    this.#addChild(directory, inode, path, type);
  }

  #addDirectory(index: number): void {
    this.#open.set(index, new Map());
    if (this.#directory(index).children === 0) this.#finishDirectory(index);
  }

  #putDirectoryInode(index: number, attributes: Attributes): void {
    const { blocks, subdirectories, hasIndex } = this.#directory(index);
    const links = subdirectories + 2;
    this.#putExtents(this.#inodes[index] as number, this.#directoryExtents(index), {
      ...attributes,
      size: blocks * BLOCK,
      links: links > MAX_LINKS ? MANY_LINKS : links,
      flags: hasIndex ? EXTENTS_FLAG | INDEX_FLAG : EXTENTS_FLAG,
    });
  }

  #addChild(index: number, inode: number, path: ByteString, type: EntryType): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const children = this.#open.get(index);
    if (children === undefined || children.has(name)) {
      throw new OciNixError("conflict", `the tree has /${displayBytes(path)} twice`);
    }
    children.set(name, { inode, name, type });
    if (children.size === this.#directory(index).children) this.#finishDirectory(index);
  }

  #finishDirectory(index: number): void {
    const { parent, blocks, hasIndex } = this.#directory(index);
    const children = [...(this.#open.get(index)?.values() ?? [])];
    this.#open.delete(index);
    const [own, above] = [this.#inodes[index] as number, this.#inodes[parent] as number];
    const dots: readonly Child[] = [
      { inode: own, name: ".", type: "directory" },
      { inode: above, name: "..", type: "directory" },
    ];
    const seed = inodeSeed(this.#groups.seed, own);
    const bytes = hasIndex
      ? indexedBlocks(dots, children, seed, this.#groups.hashSeed)
      : plainBlocks(dots, children, blocks, seed);
    for (const { logical, start, count } of this.#directoryExtents(index)) {
      for (let i = 0; i < count; i++) this.#file.write(start + i, bytes[logical + i] as Buffer);
    }
  }

  #directory(index: number): PlannedDirectory {
    return this.#plan.directories[index] as PlannedDirectory;
  }

  #directoryExtents(index: number): readonly Extent[] {
    const extents = new ExtentList();
    let skip = this.#offsets[index] as number;
    let left = this.#directory(index).blocks;
    for (const { start, count } of this.#area) {
      const here = Math.min(count - skip, left);
      if (here > 0) {
        extents.add(extents.blocks, start + skip, here);
        left -= here;
      }
      skip = Math.max(0, skip - count);
      if (left === 0) break;
    }
    return extents.list;
  }

  async #addOther(
    cursor: EntryCursor,
    inode: number,
    attributes: Attributes & { readonly links: number },
    turns: EventLoopTurns,
  ): Promise<void> {
    const { type, size, linkTarget, device } = cursor;
    if (type === "file") {
      const extents = new ExtentList();
      for (const { logical, bytes } of dataOf(cursor, this.#buffer)) {
        this.#addData(extents, logical, bytes);
        const due = turns.next();
        if (due !== undefined) await due;
      }
      this.#putExtents(inode, extents.list, { ...attributes, size, flags: EXTENTS_FLAG });
    } else if (type === "symlink" && linkTarget.length > LONGEST_INLINE_TARGET) {
      const extents = new ExtentList();
      this.#addData(extents, 0, Buffer.from(linkTarget, "latin1"));
      this.#putExtents(inode, extents.list, {
        ...attributes,
        mode: 0o777,
        size: linkTarget.length,
        flags: EXTENTS_FLAG,
      });
    } else {
      this.#putInode(inode, {
        ...attributes,
        ...(type === "symlink" ? { mode: 0o777 } : {}),
        size: linkTarget.length,
        blocks: 0,
        flags: 0,
        // What is no device may still have that of an entry before it.
        block: type === "symlink" || device === undefined ? Buffer.from(linkTarget, "latin1") : encodeDevice(device),
      });
    }
  }

  #addData(extents: ExtentList, logical: number, bytes: Uint8Array): void {
    const blocks = Math.ceil(bytes.length / BLOCK);
    for (let done = 0; done < blocks; ) {
      const { start, count } = this.#allocator.take(blocks - done);
      this.#file.write(start, bytes.subarray(done * BLOCK, (done + count) * BLOCK));
      extents.add(logical + done, start, count);
      done += count;
    }
  }

  #takeAll(wanted: number): readonly Run[] {
    const runs: Run[] = [];
    for (let left = wanted; left > 0; left -= (runs[runs.length - 1] as Run).count)
      runs.push(this.#allocator.take(left));
    return runs;
  }

  #putExtents(inode: number, extents: readonly Extent[], rest: Omit<Inode, "blocks" | "block">): void {
    const seed = inodeSeed(this.#groups.seed, inode);
    const { root, blocks } = encodeExtents(extents, seed, () => this.#allocator.take(1).start);
    for (const { block, bytes } of blocks) this.#file.write(block, bytes);
    const dataBlocks = extents.reduce((sum, { count }) => sum + count, 0);
    this.#putInode(inode, { ...rest, blocks: dataBlocks + blocks.length, block: root });
  }

  #putInode(number: number, inode: Inode): void {
    const { seed } = this.#groups;
    const xattrs = inode.xattrs?.block;
    const xattrBlock = xattrs === undefined ? 0 : this.#allocator.take(1).start;
    if (xattrs !== undefined) this.#file.write(xattrBlock, sealXattrBlock(xattrs, xattrBlock, seed));
    this.#table.put(number, encodeInode(inode, number, seed, xattrBlock));
  }
}

type Attributes = Pick<Inode, "type" | "mode" | "uid" | "gid" | "xattrs">;

/** Small numbers as they always were, others in the form of Linux 2.6. */
function encodeDevice({ major, minor }: { readonly major: number; readonly minor: number }): Buffer {
  const bytes = Buffer.alloc(8);
  if (major < 256 && minor < 256) bytes.writeUInt32LE(major * 256 + minor, 0);
  else bytes.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, 4);
  return bytes;
}
