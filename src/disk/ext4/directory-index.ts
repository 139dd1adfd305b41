import { crc32c } from "../crc32c.js";
import { BLOCK } from "./block-file.js";
import { type Child, DirectoryBlock, RECORD_ROOM, recordLength } from "./directory.js";
import { hashName } from "./name-hash.js";

/** Where the index begins in the first block, behind itself and its parent and what describes it, and in others. */
const ROOT_INDEX = 32;
const NODE_INDEX = 8;
const RECORD = 8;
const TAIL = 8;
const IN_ROOT = (BLOCK - ROOT_INDEX - TAIL) / RECORD;
const IN_NODE = (BLOCK - NODE_INDEX - TAIL) / RECORD;
const HALF_MD4 = 1;
const INFO_LENGTH = 8;

/** In every leaf, so that none is too full however long names are that come together. */
const LEAST_FREE = recordLength(255);

/** Names of more bytes than that have no place in any index. */
export const MAX_INDEXED = IN_ROOT * IN_NODE * (RECORD_ROOM - LEAST_FREE);

function leavesFor(bytes: number): number {
  return Math.ceil(bytes / (RECORD_ROOM - LEAST_FREE));
}

function nodesFor(leaves: number): number {
  return leaves <= IN_ROOT ? 0 : Math.ceil(leaves / IN_NODE);
}

/** Blocks of a directory with an index, whose names take so many bytes. */
export function indexedBlockCount(bytes: number): number {
  const leaves = leavesFor(bytes);
  return 1 + nodesFor(leaves) + leaves;
}

interface Pointer {
  readonly hash: number;
  readonly block: number;
}

/**
 * The blocks of a directory with an index, in which the kernel finds a name by its hash: the root of the index, its inner nodes, and leaves
 * that hold about the same each.
 * @param dots itself and its parent
 * @param seed of the directory's inode
 * @param hashSeed of the file system
 */
export function indexedBlocks(
  dots: readonly Child[],
  children: readonly Child[],
  seed: number,
  hashSeed: Buffer,
): readonly Buffer[] {
  const hashed = children.map((child) => ({ child, ...hashName(child.name, hashSeed) }));
  hashed.sort((a, b) => a.major - b.major || a.minor - b.minor || a.child.inode - b.child.inode);
  const bytes = children.reduce((sum, { name }) => sum + recordLength(name.length), 0);
  const leaves = leavesFor(bytes);
  const nodes = nodesFor(leaves);
  const pointers: Pointer[] = [];
  const blocks: Buffer[] = [];
  let done = 0;
  let last = -1;
  for (let i = 0; pointers.length < leaves; ) {
    const leaf = new DirectoryBlock();
    const { major } = hashed[i] as { readonly major: number };
    // An odd hash says that names with the same hash are in the leaf before, too.
    pointers.push({ hash: major === last ? major + 1 : major, block: 1 + nodes + pointers.length });
    for (; i < hashed.length && done < (bytes * pointers.length) / leaves; i++) {
      const { child, major } = hashed[i] as { readonly child: Child; readonly major: number };
      leaf.add(child);
      done += recordLength(child.name.length);
      last = major;
    }
    blocks.push(leaf.finish(seed));
  }
  const inner: Buffer[] = [];
  const tops: Pointer[] = [];
  for (let at = 0; nodes > 0 && at < pointers.length; at += IN_NODE) {
    const below = pointers.slice(at, at + IN_NODE);
    inner.push(indexBlock(below, NODE_INDEX, IN_NODE, seed, emptyRecord()));
    tops.push({ hash: (below[0] as Pointer).hash, block: inner.length });
  }
  const root = indexBlock(nodes > 0 ? tops : pointers, ROOT_INDEX, IN_ROOT, seed, rootHeader(dots, nodes > 0 ? 1 : 0));
  return [root, ...inner, ...blocks];
}

/** For whoever does not know indexes, the block holds nothing. */
function emptyRecord(): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.writeUInt16LE(BLOCK, 4);
  return bytes;
}

function rootHeader(dots: readonly Child[], levels: number): Buffer {
  const block = new DirectoryBlock();
  for (const child of dots) block.add(child);
  const bytes = block.finish(0);
  // The index stands where the tail of other blocks does, as well.
  bytes.fill(0, RECORD_ROOM);
  const parent = recordLength(1);
  bytes.writeUInt16LE(BLOCK - parent, parent + 4);
  bytes[ROOT_INDEX - 4] = HALF_MD4;
  bytes[ROOT_INDEX - 3] = INFO_LENGTH;
  bytes[ROOT_INDEX - 2] = levels;
  return bytes;
}

function indexBlock(pointers: readonly Pointer[], at: number, limit: number, seed: number, bytes: Buffer): Buffer {
  for (const [i, { hash, block }] of pointers.entries()) {
    bytes.writeUInt32LE(hash, at + i * RECORD);
    bytes.writeUInt32LE(block, at + i * RECORD + 4);
  }
  // The first needs no hash.
  bytes.writeUInt16LE(limit, at);
  bytes.writeUInt16LE(pointers.length, at + 2);
  const tail = at + limit * RECORD;
  const checksum = crc32c(crc32c(seed, bytes, 0, at + pointers.length * RECORD), Buffer.alloc(TAIL));
  bytes.writeUInt32LE(checksum, tail + 4);
  return bytes;
}
