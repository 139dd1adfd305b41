import type { ByteString } from "../../core/byte-string.js";
import type { EntryType } from "../../tar/entry-list.js";
import { crc32c } from "../crc32c.js";
import { BLOCK } from "./block-file.js";

const HEADER = 8;
const TAIL = 12;
const ROOM = BLOCK - TAIL;
const TAIL_TYPE = 0xde;
const DOTS = 2 * 12;

const TYPE_CODES: Readonly<Record<EntryType, number>> = {
  file: 1,
  directory: 2,
  character: 3,
  block: 4,
  fifo: 5,
  symlink: 7,
};

function recordLength(nameLength: number): number {
  return (HEADER + nameLength + 3) & ~3;
}

/** How far a directory is filled: its blocks, and the bytes used of the last one. */
export interface Fill {
  blocks: number;
  used: number;
}

/** A directory with nothing but itself and its parent. */
export const emptyFill = (): Fill => ({ blocks: 1, used: DOTS });

/** Adds one name of so many bytes. */
export function fillWith(fill: Fill, nameLength: number): void {
  const length = recordLength(nameLength);
  if (fill.used + length > ROOM) {
    fill.blocks++;
    fill.used = 0;
  }
  fill.used += length;
}

/** The blocks of one directory, its entries in the order in which they are added. */
export class DirectoryBlocks {
  readonly #blocks: Buffer[] = [];
  #at = 0;
  /** Begin of the last record in the last block. */
  #last = 0;

  constructor(inode: number, parent: number) {
    this.#blocks.push(Buffer.alloc(BLOCK));
    this.#put(inode, ".", "directory");
    this.#put(parent, "..", "directory");
  }

  add(inode: number, name: ByteString, type: EntryType): void {
    if (this.#at + recordLength(name.length) > ROOM) {
      this.#endBlock();
      this.#blocks.push(Buffer.alloc(BLOCK));
      this.#at = 0;
      this.#last = 0;
    }
    this.#put(inode, name, type);
  }

  /**
   * All of them with their checksums. Add nothing afterwards.
   * @param count blocks wanted, at least as many as are filled
   * @param seed of the directory's inode
   */
  finish(count: number, seed: number): readonly Buffer[] {
    this.#endBlock();
    while (this.#blocks.length < count) {
      const empty = Buffer.alloc(BLOCK);
      empty.writeUInt16LE(ROOM, 4);
      this.#blocks.push(empty);
    }
    for (const block of this.#blocks) {
      block.writeUInt16LE(TAIL, ROOM + 4);
      block[ROOM + 7] = TAIL_TYPE;
      block.writeUInt32LE(crc32c(seed, block, 0, ROOM), ROOM + 8);
    }
    return this.#blocks;
  }

  #put(inode: number, name: ByteString, type: EntryType): void {
    const block = this.#blocks[this.#blocks.length - 1] as Buffer;
    const length = recordLength(name.length);
    block.writeUInt32LE(inode, this.#at);
    block.writeUInt16LE(length, this.#at + 4);
    block[this.#at + 6] = name.length;
    block[this.#at + 7] = TYPE_CODES[type];
    block.write(name, this.#at + HEADER, "latin1");
    this.#last = this.#at;
    this.#at += length;
  }

  /** The last record reaches to the end. */
  #endBlock(): void {
    (this.#blocks[this.#blocks.length - 1] as Buffer).writeUInt16LE(ROOM - this.#last, this.#last + 4);
  }
}
