import type { EntryType } from "../../tar/entry-list.js";
import { crc32c } from "../crc32c.js";
import type { StoredXattrs } from "./xattrs.js";

/** The only size of inodes we make. */
export const INODE_SIZE = 256;
export const ROOT_INODE = 2;
export const LOST_AND_FOUND_INODE = 11;

/** Of everything in an image, as in a store: the first second after 1970 began. 0 means "never" in some places. */
export const TIME = 1;

export const EXTENTS_FLAG = 0x80000;
/** Of a directory. */
export const INDEX_FLAG = 0x1000;

const EXTRA_SIZE = 32;
const TIMES = [0x08, 0x0c, 0x10];
const CREATION_TIME = 0x90;
/** Their nanoseconds and high bits. */
const TIME_EXTRAS = [0x84, 0x88, 0x8c, 0x94];
const GENERATION = 0x64;
const CHECKSUM_LOW = 0x7c;
const CHECKSUM_HIGH = 0x82;
const BLOCKS_HIGH = 0x74;
const I_BLOCK = 0x28;
const XATTR_BLOCK_LOW = 0x68;
const XATTR_BLOCK_HIGH = 0x76;
const FIELDS = 0x80 + EXTRA_SIZE;

const TYPE_BITS: Readonly<Record<EntryType, number>> = {
  fifo: 0x1000,
  character: 0x2000,
  directory: 0x4000,
  block: 0x6000,
  file: 0x8000,
  symlink: 0xa000,
};

export interface Inode {
  readonly type: EntryType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  /** All that it takes beside itself, those of its extent tree included, but not that of its extended attributes. */
  readonly blocks: number;
  readonly flags: number;
  /** Extents, a device or a short symlink's target: at most 60 bytes. */
  readonly block: Uint8Array;
  readonly xattrs?: StoredXattrs | undefined;
}

const SECTORS_PER_BLOCK = 8;

/** What the checksums of an inode and its blocks start from; its generation is 0. */
export function inodeSeed(seed: number, number: number): number {
  SEED.writeUInt32LE(number, 0);
  return crc32c(seed, SEED);
}

const SEED = Buffer.alloc(8);

/**
 * @param seed the file system's
 * @param xattrBlock where the block of its extended attributes is, if it has one
 */
export function encodeInode(inode: Inode, number: number, seed: number, xattrBlock = 0): Buffer {
  const bytes = Buffer.alloc(INODE_SIZE);
  const sectors = (inode.blocks + (xattrBlock === 0 ? 0 : 1)) * SECTORS_PER_BLOCK;
  bytes.writeUInt16LE(TYPE_BITS[inode.type] | inode.mode, 0);
  bytes.writeUInt16LE(inode.uid & 0xffff, 0x02);
  bytes.writeUInt32LE(inode.size % 2 ** 32, 0x04);
  bytes.writeUInt16LE(inode.gid & 0xffff, 0x18);
  bytes.writeUInt16LE(inode.links, 0x1a);
  bytes.writeUInt32LE(sectors % 2 ** 32, 0x1c);
  bytes.writeUInt32LE(inode.flags, 0x20);
  bytes.set(inode.block, I_BLOCK);
  bytes.writeUInt32LE(xattrBlock % 2 ** 32, XATTR_BLOCK_LOW);
  bytes.writeUInt32LE(Math.floor(inode.size / 2 ** 32), 0x6c);
  bytes.writeUInt16LE(Math.floor(sectors / 2 ** 32), BLOCKS_HIGH);
  bytes.writeUInt16LE(Math.floor(xattrBlock / 2 ** 32), XATTR_BLOCK_HIGH);
  bytes.writeUInt16LE(inode.uid >>> 16, 0x78);
  bytes.writeUInt16LE(inode.gid >>> 16, 0x7a);
  bytes.writeUInt16LE(EXTRA_SIZE, 0x80);
  if (inode.xattrs !== undefined) bytes.set(inode.xattrs.inode, FIELDS);
  return settleInode(bytes, number, seed);
}

/** Sets an inode's times and its checksum. Changes `bytes` in place. */
export function settleInode(bytes: Buffer, number: number, seed: number): Buffer {
  // Those that mke2fs only reserves have no more than the old half.
  const isWide = bytes.readUInt16LE(0x80) >= EXTRA_SIZE;
  for (const at of TIMES) bytes.writeUInt32LE(TIME, at);
  if (isWide) {
    bytes.writeUInt32LE(TIME, CREATION_TIME);
    for (const at of TIME_EXTRAS) bytes.writeUInt32LE(0, at);
    bytes.writeUInt16LE(0, CHECKSUM_HIGH);
  }
  bytes.writeUInt32LE(0, GENERATION);
  bytes.writeUInt16LE(0, CHECKSUM_LOW);
  const checksum = crc32c(inodeSeed(seed, number), bytes);
  bytes.writeUInt16LE(checksum & 0xffff, CHECKSUM_LOW);
  if (isWide) bytes.writeUInt16LE(checksum >>> 16, CHECKSUM_HIGH);
  return bytes;
}

/** Where the extents of an inode are. */
export function inodeBlock(bytes: Buffer): Buffer {
  return bytes.subarray(I_BLOCK, I_BLOCK + 60);
}
