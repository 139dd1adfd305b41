import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { describeErrno, OciNixError } from "../../core/errors.js";
import type { Region } from "../region.js";

/** The only block size we make. */
export const BLOCK = 4096;

const WINDOW = 1024 * 1024;

/** The blocks of a file system in its region of a file. Blocks that follow each other are collected and written at once. */
export class BlockFile {
  readonly #region: Region;
  readonly #fd: number;
  readonly #window = Buffer.allocUnsafeSlow(WINDOW);
  /** First block of what is collected, and its bytes. */
  #first = 0;
  #length = 0;

  /** @throws OciNixError `output` where the file cannot be written, or ends before the region does */
  constructor(region: Region) {
    this.#region = region;
    try {
      this.#fd = openSync(region.file, "r+");
    } catch (error) {
      throw this.#failed(error);
    }
    const { size } = fstatSync(this.#fd);
    if (size < region.offset + region.size) {
      this.close();
      throw new OciNixError(
        "output",
        `${region.file} has ${size} bytes, and a file system was to end at byte ${region.offset + region.size}`,
      );
    }
  }

  /** Reads whole blocks. Flush first what was written there. */
  read(block: number, count: number): Buffer {
    const bytes = Buffer.alloc(count * BLOCK);
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(this.#fd, bytes, done, bytes.length - done, this.#position(block) + done);
      if (read === 0) throw new OciNixError("output", `${this.#region.file} became shorter while it was written`);
      done += read;
    }
    return bytes;
  }

  /** Writes from the begin of a block on, and zeros up to the end of the last one. Takes a copy. */
  write(block: number, bytes: Uint8Array): void {
    const padded = Math.ceil(bytes.length / BLOCK) * BLOCK;
    if (this.#length > 0 && (block !== this.#first + this.#length / BLOCK || this.#length + padded > WINDOW))
      this.flush();
    if (bytes.length >= WINDOW && padded === bytes.length) {
      this.#put(bytes, this.#position(block));
      return;
    }
    for (let at = 0; at < bytes.length; at += WINDOW) {
      const piece = bytes.subarray(at, at + WINDOW);
      if (this.#length + piece.length > WINDOW) this.flush();
      if (this.#length === 0) this.#first = block + at / BLOCK;
      this.#window.set(piece, this.#length);
      const end = Math.ceil((this.#length + piece.length) / BLOCK) * BLOCK;
      this.#window.fill(0, this.#length + piece.length, end);
      this.#length = end;
    }
  }

  /** Writes a part of a block at once, past what is collected: nothing of that block may be in there. */
  writeWithin(block: number, offset: number, bytes: Uint8Array): void {
    this.#put(bytes, this.#position(block) + offset);
  }

  flush(): void {
    const length = this.#length;
    this.#length = 0;
    this.#put(this.#window.subarray(0, length), this.#position(this.#first));
  }

  close(): void {
    closeSync(this.#fd);
  }

  #position(block: number): number {
    return this.#region.offset + block * BLOCK;
  }

  #put(bytes: Uint8Array, position: number): void {
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #failed(error: unknown): OciNixError {
    return new OciNixError("output", `cannot write ${this.#region.file}: ${describeErrno(error)}`, { cause: error });
  }
}
