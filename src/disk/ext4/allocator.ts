import { OciNixError } from "../../core/errors.js";

/** Blocks that follow each other. */
export interface Run {
  readonly start: number;
  readonly count: number;
}

/** Gives out the free blocks of a file system in ascending order. */
export class BlockAllocator {
  /** Blocks given out. */
  taken = 0;
  readonly #used: Buffer;
  #at = 0;

  /** @param used one bit a block, set where it is in use: what is given out is set, too */
  constructor(used: Buffer) {
    this.#used = used;
  }

  /**
   * The next free blocks: as many as wanted, or fewer where something is in the way.
   * @throws OciNixError `limit` where there are none
   */
  take(wanted: number): Run {
    const used = this.#used;
    const end = used.length * 8;
    let at = this.#at;
    while (at < end) {
      const byte = used[Math.floor(at / 8)] as number;
      if (byte === 0xff && at % 8 === 0) at += 8;
      else if (byte & (1 << (at % 8))) at++;
      else break;
    }
    if (at >= end) {
      this.#at = end;
      throw new OciNixError("limit", "the file system has no free block left", { hint: "make it larger" });
    }
    const start = at;
    const stop = Math.min(end, start + wanted);
    while (at < stop) {
      const index = Math.floor(at / 8);
      const byte = used[index] as number;
      if (byte === 0 && at % 8 === 0 && at + 8 <= stop) {
        used[index] = 0xff;
        at += 8;
      } else if (byte & (1 << (at % 8))) break;
      else {
        used[index] = byte | (1 << (at % 8));
        at++;
      }
    }
    this.#at = at;
    this.taken += at - start;
    return { start, count: at - start };
  }
}
