import { createHash, type Hash } from "node:crypto";
import type { ByteSink } from "./byte-sink.js";
import type { Digest } from "./digest.js";
import { EventLoopTurns } from "./event-loop-turns.js";

/** How much has gone out; read by whoever shows progress, at any time. */
export interface WriteProgress {
  bytes: number;
  entries: number;
}

/** Block size for sinks that are pipes: measured fastest, see docs/performance.md. */
export const PIPE_BLOCK_SIZE = 64 * 1024;
/** Block size where only a hash or a file takes the bytes. */
export const BULK_BLOCK_SIZE = 256 * 1024;

/**
 * Collects bytes in one reused block, hashes them and hands full blocks to a sink: the one way bytes reach an output.
 *
 * Producers fill {@link block} from {@link position} on themselves, so file contents are read straight into it. Memory is one block.
 * It lets the event loop run now and then ({@link EventLoopTurns}).
 */
export class BlockWriter {
  readonly block: Buffer;
  /** First free byte of {@link block}; producers advance it. */
  position = 0;
  readonly progress: WriteProgress;
  /** Work for the sink to do rather than to wait; see {@link ByteSink.write}. */
  whileFull: (() => boolean) | undefined;
  readonly #sink: ByteSink;
  readonly #turns: EventLoopTurns;
  #hash: Hash | undefined;
  #hashFrom = 0;
  #flushed = 0;

  constructor(
    sink: ByteSink,
    options: {
      readonly blockSize?: number;
      readonly signal?: AbortSignal | undefined;
      readonly progress?: WriteProgress;
    } = {},
  ) {
    this.#sink = sink;
    this.block = Buffer.allocUnsafeSlow(options.blockSize ?? PIPE_BLOCK_SIZE);
    this.#turns = new EventLoopTurns(options.signal);
    this.progress = options.progress ?? { bytes: 0, entries: 0 };
  }

  /** Free bytes in the block. */
  get room(): number {
    return this.block.length - this.position;
  }

  /** Bytes taken so far, flushed or not. */
  get written(): number {
    return this.#flushed + this.position;
  }

  /** From here on bytes count towards the digest that {@link endDigest} gives. Digests do not nest. */
  beginDigest(): void {
    if (this.#hash !== undefined) throw new Error("a digest is already being made");
    this.#hash = createHash("sha256");
    this.#hashFrom = this.position;
  }

  endDigest(): Digest {
    if (this.#hash === undefined) throw new Error("no digest is being made");
    this.#hash.update(this.block.subarray(this.#hashFrom, this.position));
    const digest: Digest = `sha256:${this.#hash.digest("hex")}`;
    this.#hash = undefined;
    return digest;
  }

  /** Makes the whole block free. A promise only where the sink waits or the event loop is due. @throws the signal's reason */
  flush(): void | Promise<void> {
    const bytes = this.block.subarray(0, this.position);
    this.#hash?.update(bytes.subarray(this.#hashFrom));
    const waiting = this.#send(bytes);
    if (waiting !== undefined) {
      return waiting.then(() => {
        this.#blockIsFree();
        return this.#turns.next();
      });
    }
    this.#blockIsFree();
    return this.#turns.next();
  }

  #send(bytes: Uint8Array): void | Promise<void> {
    this.progress.bytes += bytes.length;
    this.#flushed += bytes.length;
    return this.#sink.write(bytes, this.whileFull);
  }

  #blockIsFree(): void {
    this.position = 0;
    this.#hashFrom = 0;
  }

  /** Takes `bytes` as they are, without a copy; they must not change until the promise resolves. */
  async pass(bytes: Uint8Array): Promise<void> {
    if (this.position > 0) {
      const waiting = this.flush();
      if (waiting !== undefined) await waiting;
    }
    for (let at = 0; at < bytes.length; at += this.block.length) {
      const piece = bytes.subarray(at, at + this.block.length);
      this.#hash?.update(piece);
      const waiting = this.#send(piece);
      if (waiting !== undefined) await waiting;
    }
    const due = this.#turns.next();
    if (due !== undefined) await due;
  }

  /** Takes a copy of `bytes`. */
  async put(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.room === 0) await this.flush();
      const count = Math.min(this.room, bytes.length - at);
      this.block.set(bytes.subarray(at, at + count), this.position);
      this.position += count;
      at += count;
    }
  }

  async putZeros(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      if (this.room === 0) await this.flush();
      const here = Math.min(this.room, left);
      this.block.fill(0, this.position, this.position + here);
      this.position += here;
      left -= here;
    }
  }
}
