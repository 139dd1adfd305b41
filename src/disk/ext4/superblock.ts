import { crc32c } from "../crc32c.js";
import { BLOCK, type BlockFile } from "./block-file.js";
import { INODE_SIZE, TIME } from "./inode.js";

/** Where it begins in the first block, and its length. */
const PLACE = 1024;
const CHECKSUM = 0x3fc;
const ALL_ONES = 0xffffffff;
export const DESCRIPTOR_SIZE = 64;

/** The superblock of a file system that mke2fs made as we ask for it. */
export class Superblock {
  readonly blocks: number;
  readonly inodes: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly reservedDescriptorBlocks: number;
  /** What all checksums start from. */
  readonly seed: number;
  /** What hashes of names start from. */
  readonly hashSeed: Buffer;
  readonly #file: BlockFile;
  readonly #bytes: Buffer;

  constructor(file: BlockFile) {
    const bytes = file.read(0, 1).subarray(PLACE, 2 * PLACE);
    this.#file = file;
    this.#bytes = bytes;
    checkLayout(bytes);
    this.blocks = bytes.readUInt32LE(0x04) + bytes.readUInt32LE(0x150) * 2 ** 32;
    this.inodes = bytes.readUInt32LE(0);
    this.blocksPerGroup = bytes.readUInt32LE(0x20);
    this.inodesPerGroup = bytes.readUInt32LE(0x28);
    this.reservedDescriptorBlocks = bytes.readUInt16LE(0xce);
    this.seed = crc32c(ALL_ONES, bytes, 0x68, 0x78);
    this.hashSeed = bytes.subarray(0xec, 0xfc);
  }

  /** Writes it, or its copy, in a group, with nothing in it of when, where and how often it was written. */
  write(group: number, firstBlock: number, free: { readonly freeBlocks: number; readonly freeInodes: number }): void {
    const bytes = Buffer.from(this.#bytes);
    bytes.writeUInt16LE(group, 0x5a);
    bytes.writeUInt32LE(free.freeBlocks % 2 ** 32, 0x0c);
    bytes.writeUInt32LE(Math.floor(free.freeBlocks / 2 ** 32), 0x158);
    bytes.writeUInt32LE(free.freeInodes, 0x10);
    // Written, checked, made.
    for (const at of [0x30, 0x40, 0x108]) bytes.writeUInt32LE(TIME, at);
    // When and where it was mounted, how often, and all that was ever written.
    bytes.writeUInt32LE(0, 0x2c);
    bytes.writeUInt16LE(0, 0x34);
    bytes.fill(0, 0x88, 0xc8);
    bytes.fill(0, 0x178, 0x180);
    // The high bytes of all times.
    bytes.fill(0, 0x274, 0x27a);
    // Names are hashed as bytes with a sign: what mke2fs says depends on the machine.
    bytes.writeUInt32LE((bytes.readUInt32LE(0x160) & ~3) | 1, 0x160);
    bytes.writeUInt32LE(crc32c(ALL_ONES, bytes, 0, CHECKSUM), CHECKSUM);
    this.#file.writeWithin(firstBlock, group === 0 ? PLACE : 0, bytes);
  }
}

/** With `sparse_super`: groups 0 and 1, and the powers of 3, 5 and 7. */
export function hasSuperblock(group: number): boolean {
  if (group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

function checkLayout(bytes: Buffer): void {
  const found = {
    magic: bytes.readUInt16LE(0x38),
    firstBlock: bytes.readUInt32LE(0x14),
    blockSize: 1024 << bytes.readUInt32LE(0x18),
    inodeSize: bytes.readUInt16LE(0x58),
    descriptorSize: bytes.readUInt16LE(0xfe),
    // metadata_csum
    checksums: bytes.readUInt32LE(0x64) & 0x400,
    hash: bytes[0xfc],
    // meta_bg, metadata_csum_seed, inline_data
    strange: bytes.readUInt32LE(0x60) & (0x10 | 0x2000 | 0x8000),
  };
  const wanted = {
    magic: 0xef53,
    firstBlock: 0,
    blockSize: BLOCK,
    inodeSize: INODE_SIZE,
    descriptorSize: DESCRIPTOR_SIZE,
    checksums: 0x400,
    // half_md4
    hash: 1,
    strange: 0,
  };
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`mke2fs made another file system than we asked for: ${JSON.stringify(found)}`);
  }
}
