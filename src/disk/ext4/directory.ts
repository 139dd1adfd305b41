import type { ByteString } from "../../core/byte-string.js";
import type { EntryType } from "../../tar/entry-list.js";
import { crc32c } from "../crc32c.js";
import { BLOCK } from "./block-file.js";

const HEADER = 8;
const TAIL = 12;
/** For records in a block. */
export const RECORD_ROOM = BLOCK - TAIL;
const TAIL_TYPE = 0xde;

const TYPE_CODES: Readonly<Record<EntryType, number>> = {
  file: 1,
  directory: 2,
  character: 3,
  block: 4,
  fifo: 5,
  symlink: 7,
};

/** What one name of a directory stands for. */
export interface Child {
  readonly inode: number;
  readonly name: ByteString;
  readonly type: EntryType;
}

/** What every directory begins with: itself and its parent. */
export const DOTS = 2 * 12;

export function recordLength(nameLength: number): number {
  return (HEADER + nameLength + 3) & ~3;
}

/** How far a directory without an index is filled: its blocks, and the bytes used of the last one. */
export interface Fill {
  blocks: number;
  used: number;
}

/** Adds one name of so many bytes. */
export function fillWith(fill: Fill, nameLength: number): void {
  const length = recordLength(nameLength);
  if (fill.used + length > RECORD_ROOM) {
    fill.blocks++;
    fill.used = 0;
  }
  fill.used += length;
}

/** One block of a directory, made from its begin to its end. */
export class DirectoryBlock {
  readonly #bytes = Buffer.alloc(BLOCK);
  #at = 0;
  /** Begin of the last record. */
  #last = 0;

  /** Whether a name of so many bytes fits. */
  hasRoomFor(name: ByteString): boolean {
    return this.#at + recordLength(name.length) <= RECORD_ROOM;
  }

  add({ inode, name, type }: Child): void {
    const length = recordLength(name.length);
    this.#bytes.writeUInt32LE(inode, this.#at);
    this.#bytes.writeUInt16LE(length, this.#at + 4);
    this.#bytes[this.#at + 6] = name.length;
    this.#bytes[this.#at + 7] = TYPE_CODES[type];
    this.#bytes.write(name, this.#at + HEADER, "latin1");
    this.#last = this.#at;
    this.#at += length;
  }

  /** Its bytes. Add nothing afterwards. @param seed of the directory's inode */
  finish(seed: number): Buffer {
    const bytes = this.#bytes;
    // The last record reaches to the end.
    bytes.writeUInt16LE(RECORD_ROOM - this.#last, this.#last + 4);
    bytes.writeUInt16LE(TAIL, RECORD_ROOM + 4);
    bytes[RECORD_ROOM + 7] = TAIL_TYPE;
    bytes.writeUInt32LE(crc32c(seed, bytes, 0, RECORD_ROOM), RECORD_ROOM + 8);
    return bytes;
  }
}

/**
 * The blocks of a directory without an index, names in the order given.
 * @param dots itself and its parent
 * @param count blocks wanted, at least as many as are filled
 * @param seed of the directory's inode
 */
export function plainBlocks(
  dots: readonly Child[],
  children: readonly Child[],
  count: number,
  seed: number,
): readonly Buffer[] {
  const blocks = [new DirectoryBlock()];
  for (const child of [dots, children].flat()) {
    if (!blocks[blocks.length - 1]?.hasRoomFor(child.name)) blocks.push(new DirectoryBlock());
    blocks[blocks.length - 1]?.add(child);
  }
  while (blocks.length < count) blocks.push(new DirectoryBlock());
  return blocks.map((block) => block.finish(seed));
}
