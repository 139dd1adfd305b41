import { crc32c } from "../crc32c.js";
import { BLOCK } from "./block-file.js";

/** Consecutive blocks of a file in consecutive blocks of the file system. */
export interface Extent {
  /** Number of its first block within the file. */
  readonly logical: number;
  readonly start: number;
  readonly count: number;
}

/** More blocks would say that they are not initialised. */
export const MAX_EXTENT = 32_768;

/** Extents of a file that is written from its begin to its end. */
export class ExtentList {
  readonly list: Extent[] = [];
  blocks = 0;

  add(logical: number, start: number, count: number): void {
    this.blocks += count;
    const last = this.list[this.list.length - 1];
    let done = 0;
    if (last !== undefined && last.logical + last.count === logical && last.start + last.count === start) {
      done = Math.min(count, MAX_EXTENT - last.count);
      this.list[this.list.length - 1] = { ...last, count: last.count + done };
    }
    for (; done < count; done += MAX_EXTENT) {
      this.list.push({ logical: logical + done, start: start + done, count: Math.min(MAX_EXTENT, count - done) });
    }
  }
}

const MAGIC = 0xf30a;
const HEADER = 12;
const RECORD = 12;
const IN_INODE = 4;
const IN_BLOCK = Math.floor((BLOCK - HEADER - 4) / RECORD);
const I_BLOCK = 60;

/** Blocks that the tree of a file takes beside its inode. */
export function treeBlocks(extents: number): number {
  let blocks = 0;
  for (let nodes = extents; nodes > IN_INODE; blocks += nodes) nodes = Math.ceil(nodes / IN_BLOCK);
  return blocks;
}

/** A node of an extent tree below the inode, as it has to be written. */
interface TreeBlock {
  readonly block: number;
  readonly bytes: Buffer;
}

/**
 * The tree of a file's extents.
 * @param extents by logical block
 * @param seed of the checksums of what belongs to this inode
 * @param allocate gives a free block
 * @returns the inode's 60 bytes, and the blocks below
 */
export function encodeExtents(
  extents: readonly Extent[],
  seed: number,
  allocate: () => number,
): { readonly root: Buffer; readonly blocks: readonly TreeBlock[] } {
  const blocks: TreeBlock[] = [];
  let depth = 0;
  let nodes = extents;
  for (; nodes.length > IN_INODE; depth++) {
    const parents: Extent[] = [];
    for (let at = 0; at < nodes.length; at += IN_BLOCK) {
      const children = nodes.slice(at, at + IN_BLOCK);
      const bytes = encodeNode(children, depth, IN_BLOCK, Buffer.alloc(BLOCK));
      const tail = HEADER + IN_BLOCK * RECORD;
      bytes.writeUInt32LE(crc32c(seed, bytes, 0, tail), tail);
      const block = allocate();
      blocks.push({ block, bytes });
      parents.push({ logical: (children[0] as Extent).logical, start: block, count: 0 });
    }
    nodes = parents;
  }
  return { root: encodeNode(nodes, depth, IN_INODE, Buffer.alloc(I_BLOCK)), blocks };
}

function encodeNode(children: readonly Extent[], depth: number, room: number, bytes: Buffer): Buffer {
  bytes.writeUInt16LE(MAGIC, 0);
  bytes.writeUInt16LE(children.length, 2);
  bytes.writeUInt16LE(room, 4);
  bytes.writeUInt16LE(depth, 6);
  for (const [i, { logical, start, count }] of children.entries()) {
    const at = HEADER + i * RECORD;
    const high = Math.floor(start / 2 ** 32);
    bytes.writeUInt32LE(logical, at);
    if (depth === 0) {
      bytes.writeUInt16LE(count, at + 4);
      bytes.writeUInt16LE(high, at + 6);
      bytes.writeUInt32LE(start % 2 ** 32, at + 8);
    } else {
      bytes.writeUInt32LE(start % 2 ** 32, at + 4);
      bytes.writeUInt16LE(high, at + 8);
    }
  }
  return bytes;
}

/** The extents that an inode holds itself. @throws Error where they are a tree: none that we read are */
export function decodeExtents(root: Buffer): readonly Extent[] {
  if (root.readUInt16LE(0) !== MAGIC || root.readUInt16LE(6) !== 0) throw new Error("no extents within the inode");
  return Array.from({ length: root.readUInt16LE(2) }, (_, i) => {
    const at = HEADER + i * RECORD;
    return {
      logical: root.readUInt32LE(at),
      start: root.readUInt16LE(at + 6) * 2 ** 32 + root.readUInt32LE(at + 8),
      count: root.readUInt16LE(at + 4),
    };
  });
}
