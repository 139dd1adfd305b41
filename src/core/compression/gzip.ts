import { availableParallelism } from "node:os";
import { constants, crc32, deflateRaw, deflateRawSync } from "node:zlib";
import type { ByteSink } from "../byte-sink.js";
import { sha256 } from "../digest.js";
import { abortReason } from "../event-loop-turns.js";
import type { CompressorOptions, Filter } from "./filter.js";

/** Bytes that are packed by themselves; part of the codec's name. */
const BLOCK_BYTES = 1024 * 1024;
/** How far back deflate can refer: the end of the block before. */
const DICTIONARY_BYTES = 32 * 1024;
/** What deflate asks for memory, from 1 to 9: with less than zlib's own 8 it adapts sooner, and the layers of real images get smaller. */
const MEMORY_LEVEL = 7;
/** A packed block comes in pieces of this size, which has no part in its bytes. */
const CHUNK_BYTES = 256 * 1024;
/** Deflate; no name, no time; no word on the level; an unknown system. RFC 1952, 2.3. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);
/** libuv's pool has this many threads, unless the environment says otherwise. */
const POOL_THREADS = 4;

interface Job {
  /** The dictionary's room, then the block. */
  readonly buffer: Buffer | undefined;
  /** Settles when the job has a result; never rejects. */
  readonly done: Promise<void>;
  packed: Uint8Array | undefined;
  error: unknown;
}

/**
 * The name of what decides the bytes. Node's zlib takes quicker ways where the processor has them, and these find other matches; and
 * Node may be built with another zlib. So the name says what a sample of bytes became, too.
 */
export function gzipCodec(level: number): string {
  let name = codecs.get(level);
  if (name === undefined) {
    const packed = deflateRawSync(sample(), { level, memLevel: MEMORY_LEVEL });
    name = `gzip:${level} zlib-${process.versions.zlib} blocks-1MiB memory-${MEMORY_LEVEL} sample-${sha256(packed).slice(7, 19)}`;
    codecs.set(level, name);
  }
  return name;
}

const codecs = new Map<number, string>();
const SAMPLE_BYTES = 128 * 1024;

/** Few words, in any order: there are many matches to choose from, and what chooses otherwise gives other bytes. */
function sample(): Uint8Array {
  let state = 1;
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const words = Array.from({ length: 400 }, () => Array.from({ length: 2 + next(7) }, () => next(40)));
  const bytes: number[] = [];
  while (bytes.length < SAMPLE_BYTES) bytes.push(...(words[next(1 + next(words.length))] as number[]));
  return Uint8Array.from(bytes);
}

/** One gzip member. Blocks of the input are packed in the thread pool, each with the end of the block before as dictionary. */
export class GzipCompressor implements Filter {
  readonly #level: number;
  readonly #sink: ByteSink;
  readonly #signal: AbortSignal | undefined;
  readonly #inFlight: number;
  /** In the order of the input. */
  #jobs: Job[] = [{ buffer: undefined, done: Promise.resolve(), packed: HEADER, error: undefined }];
  #free: Buffer[] = [];
  #buffer = newBuffer();
  #dictionaryBytes = 0;
  #filled = 0;
  #crc = 0;
  #size = 0;
  #closed = false;

  constructor(level: number, sink: ByteSink, { signal, threads }: CompressorOptions) {
    this.#level = level;
    this.#sink = sink;
    this.#signal = signal;
    // More than are being packed, as results are taken only while the caller waits or writes.
    this.#inFlight = Math.min(Math.max(1, threads ?? availableParallelism()), POOL_THREADS) + 2;
  }

  write(bytes: Uint8Array): void | Promise<void> {
    for (let at = 0; at < bytes.length && !this.#closed; ) {
      if (this.#filled === BLOCK_BYTES) {
        this.#submit(constants.Z_SYNC_FLUSH);
        const waiting = this.#drain(this.#inFlight);
        if (waiting !== undefined) return waiting.then(() => this.write(bytes.subarray(at)));
      }
      const piece = bytes.subarray(at, at + BLOCK_BYTES - this.#filled);
      this.#buffer.set(piece, DICTIONARY_BYTES + this.#filled);
      this.#crc = crc32(piece, this.#crc);
      this.#filled += piece.length;
      this.#size += piece.length;
      at += piece.length;
    }
  }

  async end(): Promise<void> {
    this.#submit(constants.Z_FINISH);
    await this.#drain(1);
    if (this.#closed) return;
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#size % 2 ** 32, 4);
    await this.#sink.write(trailer);
  }

  close(): void {
    this.#closed = true;
    this.#jobs = [];
    this.#free = [];
  }

  /** Gives the block to the pool and begins another one. */
  #submit(finishFlush: number): void {
    if (this.#closed) return;
    const buffer = this.#buffer;
    const dictionary = buffer.subarray(DICTIONARY_BYTES - this.#dictionaryBytes, DICTIONARY_BYTES);
    const block = buffer.subarray(DICTIONARY_BYTES, DICTIONARY_BYTES + this.#filled);
    const job: { -readonly [Key in keyof Job]: Job[Key] } = {
      ...{ buffer, packed: undefined, error: undefined, done: Promise.resolve() },
    };
    job.done = new Promise((resolve) => {
      const options = { level: this.#level, memLevel: MEMORY_LEVEL, finishFlush, chunkSize: CHUNK_BYTES };
      deflateRaw(block, dictionary.length > 0 ? { ...options, dictionary } : options, (error, packed) => {
        if (error) job.error = error;
        else job.packed = packed;
        resolve();
      });
    });
    this.#jobs.push(job);
    this.#buffer = this.#free.pop() ?? newBuffer();
    this.#dictionaryBytes = Math.min(this.#filled, DICTIONARY_BYTES);
    this.#buffer.set(block.subarray(block.length - this.#dictionaryBytes), DICTIONARY_BYTES - this.#dictionaryBytes);
    this.#filled = 0;
  }

  /** Hands on what is packed, until fewer than `limit` jobs are left. A promise only where there is something to do. */
  #drain(limit: number): void | Promise<void> {
    const head = this.#jobs[0];
    if (head === undefined || (head.packed === undefined && this.#jobs.length < limit)) return undefined;
    return this.#drainInTurn(limit);
  }

  async #drainInTurn(limit: number): Promise<void> {
    for (let head = this.#jobs[0]; head !== undefined; head = this.#jobs[0]) {
      if (head.packed === undefined && head.error === undefined) {
        if (this.#jobs.length < limit) return;
        await head.done;
      }
      if (this.#closed) return;
      if (this.#signal?.aborted) throw abortReason(this.#signal);
      if (head.packed === undefined) throw head.error;
      this.#jobs.shift();
      if (head.buffer !== undefined) this.#free.push(head.buffer);
      await this.#sink.write(head.packed);
    }
  }
}

function newBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(DICTIONARY_BYTES + BLOCK_BYTES);
}
