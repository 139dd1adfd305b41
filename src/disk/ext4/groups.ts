import { crc32c } from "../crc32c.js";
import { clearBits, countBits, isSet, setBits } from "./bits.js";
import { BLOCK, type BlockFile } from "./block-file.js";
import { INODE_SIZE } from "./inode.js";
import { DESCRIPTOR_SIZE, hasSuperblock, Superblock } from "./superblock.js";

const NO_INODES = 1;
const NO_BLOCK_BITMAP = 2;
const INODES_ARE_ZERO = 4;

/** A number whose low half is at one place and whose high half at another. */
const DESCRIPTOR = {
  blockBitmap: [0x00, 0x20],
  inodeBitmap: [0x04, 0x24],
  inodeTable: [0x08, 0x28],
  freeBlocks: [0x0c, 0x2c],
  freeInodes: [0x0e, 0x2e],
  directories: [0x10, 0x30],
  unusedInodes: [0x1c, 0x32],
  blockBitmapChecksum: [0x18, 0x38],
  inodeBitmapChecksum: [0x1a, 0x3a],
} as const;
const DESCRIPTOR_FLAGS = 0x12;
const DESCRIPTOR_CHECKSUM = 0x1e;

/** One group of blocks and inodes, as it is described. */
interface Group {
  readonly index: number;
  readonly firstBlock: number;
  readonly blocks: number;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
}

/** Superblock, group descriptors and bitmaps of a file system that mke2fs made and nobody has mounted, in memory until {@link finish}. */
export class BlockGroups {
  readonly inodes: number;
  readonly inodesPerGroup: number;
  /** What all checksums start from. */
  readonly seed: number;
  /** What hashes of names start from. */
  readonly hashSeed: Buffer;
  readonly groups: readonly Group[];
  /** One bit a block, group by group: set where it is in use. */
  readonly used: Buffer;
  readonly #file: BlockFile;
  readonly #superblock: Superblock;
  readonly #descriptors: Buffer;
  readonly #blocksPerGroup: number;
  /** Per group: bits of inodes in use, and how many of them are directories. */
  readonly #usedInodes: Buffer;
  readonly #directories: Uint32Array;
  readonly #touchedInodes = new Set<number>();
  readonly #before: Buffer;

  constructor(file: BlockFile) {
    this.#file = file;
    const superblock = new Superblock(file);
    this.#superblock = superblock;
    this.seed = superblock.seed;
    this.hashSeed = superblock.hashSeed;
    this.inodes = superblock.inodes;
    this.inodesPerGroup = superblock.inodesPerGroup;
    this.#blocksPerGroup = superblock.blocksPerGroup;
    const count = Math.ceil(superblock.blocks / this.#blocksPerGroup);
    this.#descriptors = file.read(1, this.#descriptorBlocks(count));
    this.groups = Array.from({ length: count }, (_, index) => this.#group(index));
    this.used = this.#readBlockBitmaps();
    this.#before = Buffer.from(this.used);
    this.#usedInodes = Buffer.concat(
      this.groups.map(({ index, inodeBitmap }) =>
        this.#flags(index) & NO_INODES
          ? this.#emptyInodeBitmap()
          : file.read(inodeBitmap, 1).subarray(0, this.#inodeBytes),
      ),
    );
    this.#directories = Uint32Array.from(this.groups, ({ index }) => this.#get(index, "directories"));
  }

  get #inodeBytes(): number {
    return this.inodesPerGroup / 8;
  }

  /** Where an inode is in its table. */
  inodePlace(inode: number): { readonly block: number; readonly offset: number } {
    const group = Math.floor((inode - 1) / this.inodesPerGroup);
    const offset = ((inode - 1) % this.inodesPerGroup) * INODE_SIZE;
    return { block: (this.groups[group] as Group).inodeTable + Math.floor(offset / BLOCK), offset: offset % BLOCK };
  }

  useInode(inode: number, isDirectory: boolean): void {
    const group = Math.floor((inode - 1) / this.inodesPerGroup);
    const bit = (inode - 1) % this.inodesPerGroup;
    setBits(this.#usedInodes, group * this.inodesPerGroup + bit, 1);
    this.#touchedInodes.add(group);
    if (isDirectory) this.#directories[group] = (this.#directories[group] as number) + 1;
  }

  get freeBlocks(): number {
    return this.used.length * 8 - countBits(this.used);
  }

  /** Makes blocks free that were in use. */
  free(start: number, count: number): void {
    clearBits(this.used, start, count);
  }

  /** Writes bitmaps, descriptors and superblock, and their backups, with all counts and checksums. */
  finish(): void {
    let freeBlocks = 0;
    let freeInodes = 0;
    for (const group of this.groups) {
      this.#finishBlocks(group);
      if (this.#touchedInodes.has(group.index)) this.#finishInodes(group);
      // As was the whole region.
      this.#setFlags(group.index, this.#flags(group.index) | INODES_ARE_ZERO);
      this.#setDescriptorChecksum(group.index);
      freeBlocks += this.#get(group.index, "freeBlocks");
      freeInodes += this.#get(group.index, "freeInodes");
    }
    for (const { index, firstBlock } of this.groups) {
      if (hasSuperblock(index)) this.#file.write(firstBlock + 1, this.#descriptors);
    }
    this.#file.flush();
    for (const { index, firstBlock } of this.groups) {
      if (hasSuperblock(index)) this.#superblock.write(index, firstBlock, { freeBlocks, freeInodes });
    }
  }

  #finishBlocks({ index, blocks, blockBitmap }: Group): void {
    const [from, to] = [(index * this.#blocksPerGroup) / 8, ((index + 1) * this.#blocksPerGroup) / 8];
    const bits = this.used.subarray(from, to);
    if (bits.equals(this.#before.subarray(from, to))) return;
    const bitmap = Buffer.alloc(BLOCK, 0xff);
    bitmap.set(bits);
    this.#file.write(blockBitmap, bitmap);
    this.#set(index, "freeBlocks", blocks - (countBits(bits) - (this.#blocksPerGroup - blocks)));
    this.#set(index, "blockBitmapChecksum", crc32c(this.seed, bitmap, 0, this.#blocksPerGroup / 8));
    this.#setFlags(index, this.#flags(index) & ~NO_BLOCK_BITMAP);
  }

  #finishInodes({ index, inodeBitmap }: Group): void {
    const bits = this.#usedInodes.subarray(index * this.#inodeBytes, (index + 1) * this.#inodeBytes);
    const bitmap = Buffer.alloc(BLOCK, 0xff);
    bitmap.set(bits);
    this.#file.write(inodeBitmap, bitmap);
    this.#set(index, "freeInodes", this.inodesPerGroup - countBits(bits));
    this.#set(index, "directories", this.#directories[index] as number);
    let last = this.inodesPerGroup;
    while (last > 0 && !isSet(bits, last - 1)) last--;
    this.#set(index, "unusedInodes", this.inodesPerGroup - last);
    this.#set(index, "inodeBitmapChecksum", crc32c(this.seed, bitmap, 0, this.#inodeBytes));
    this.#setFlags(index, this.#flags(index) & ~NO_INODES);
  }

  #group(index: number): Group {
    const firstBlock = index * this.#blocksPerGroup;
    return {
      index,
      firstBlock,
      blocks: Math.min(this.#blocksPerGroup, this.#superblock.blocks - firstBlock),
      blockBitmap: this.#get(index, "blockBitmap"),
      inodeBitmap: this.#get(index, "inodeBitmap"),
      inodeTable: this.#get(index, "inodeTable"),
    };
  }

  /** Of a group that says it has none, the bitmap follows from where descriptors, bitmaps and inode tables are. */
  #readBlockBitmaps(): Buffer {
    const bytes = this.#blocksPerGroup / 8;
    const used = Buffer.alloc(this.groups.length * bytes);
    for (const { index, blockBitmap } of this.groups) {
      if ((this.#flags(index) & NO_BLOCK_BITMAP) === 0)
        used.set(this.#file.read(blockBitmap, 1).subarray(0, bytes), index * bytes);
    }
    const descriptorBlocks = this.#descriptorBlocks(this.groups.length) + this.#superblock.reservedDescriptorBlocks;
    const tableBlocks = Math.ceil((this.inodesPerGroup * INODE_SIZE) / BLOCK);
    for (const { index, firstBlock, blockBitmap, inodeBitmap, inodeTable } of this.groups) {
      if (hasSuperblock(index)) setBits(used, firstBlock, 1 + descriptorBlocks);
      setBits(used, blockBitmap, 1);
      setBits(used, inodeBitmap, 1);
      setBits(used, inodeTable, tableBlocks);
    }
    const { blocks } = this.#superblock;
    setBits(used, blocks, this.groups.length * this.#blocksPerGroup - blocks);
    return used;
  }

  #emptyInodeBitmap(): Buffer {
    return Buffer.alloc(this.#inodeBytes);
  }

  #descriptorBlocks(groups: number): number {
    return Math.ceil((groups * DESCRIPTOR_SIZE) / BLOCK);
  }

  #get(group: number, field: keyof typeof DESCRIPTOR): number {
    const at = group * DESCRIPTOR_SIZE;
    const [low, high] = DESCRIPTOR[field];
    return isWide(field)
      ? this.#descriptors.readUInt32LE(at + low) + this.#descriptors.readUInt32LE(at + high) * 2 ** 32
      : this.#descriptors.readUInt16LE(at + low) + this.#descriptors.readUInt16LE(at + high) * 2 ** 16;
  }

  /** Only of the narrow ones: where things are does not change. */
  #set(group: number, field: keyof typeof DESCRIPTOR, value: number): void {
    const at = group * DESCRIPTOR_SIZE;
    const [low, high] = DESCRIPTOR[field];
    this.#descriptors.writeUInt16LE(value & 0xffff, at + low);
    this.#descriptors.writeUInt16LE(value >>> 16, at + high);
  }

  #flags(group: number): number {
    return this.#descriptors.readUInt16LE(group * DESCRIPTOR_SIZE + DESCRIPTOR_FLAGS);
  }

  #setFlags(group: number, flags: number): void {
    this.#descriptors.writeUInt16LE(flags, group * DESCRIPTOR_SIZE + DESCRIPTOR_FLAGS);
  }

  #setDescriptorChecksum(group: number): void {
    const descriptor = this.#descriptors.subarray(group * DESCRIPTOR_SIZE, (group + 1) * DESCRIPTOR_SIZE);
    descriptor.writeUInt16LE(0, DESCRIPTOR_CHECKSUM);
    const number = Buffer.alloc(4);
    number.writeUInt32LE(group);
    descriptor.writeUInt16LE(crc32c(crc32c(this.seed, number), descriptor) & 0xffff, DESCRIPTOR_CHECKSUM);
  }
}

function isWide(field: keyof typeof DESCRIPTOR): boolean {
  return field === "blockBitmap" || field === "inodeBitmap" || field === "inodeTable";
}
