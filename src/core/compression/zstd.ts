import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import type * as Binding from "zstd-napi/binding.js";
import type { ByteSink } from "../byte-sink.js";
import { OciNixError } from "../errors.js";
import { EventLoopTurns } from "../event-loop-turns.js";
import { loadNative } from "../native-module.js";
import type { CompressorOptions, Filter } from "./filter.js";

const require = createRequire(import.meta.url);

/** Loaded when first needed: most images are written without. */
function zstd(): typeof Binding {
  return loadNative("zstd-napi", () => require("zstd-napi/binding.js") as typeof Binding);
}

/** A job is what one thread packs: small enough that a layer of a few tens of megabytes keeps all of them busy. */
const SMALL_JOBS = { jobLog: 21, overlapLog: 7 };
/** High levels have windows of up to 8 MiB, and small jobs would waste them. */
const LARGE_JOBS = { jobLog: 22, overlapLog: 8 };
const LARGE_JOBS_FROM_LEVEL = 16;
/** A thread takes about 8 MB at level 3 and 100 MB at level 19. */
const MAX_THREADS = 16;
const OUT_BYTES = 256 * 1024;
/** What zstd itself refuses to exceed unless told to: a frame may ask for gigabytes. */
const MAX_WINDOW_LOG = 27;
const NOTHING = new Uint8Array(0);

function jobsOf(level: number): typeof SMALL_JOBS {
  return level < LARGE_JOBS_FROM_LEVEL ? SMALL_JOBS : LARGE_JOBS;
}

/**
 * The name of what decides the bytes. The library comes with the package, and its bytes are the same on all processors; so its version
 * tells all of it. The number of threads has no part in them, as long as there is one beside the caller's.
 */
export function zstdCodec(level: number): string {
  const { jobLog, overlapLog } = jobsOf(level);
  return `zstd:${level} libzstd-${zstd().versionString()} jobs-${2 ** (jobLog - 20)}MiB overlap-${overlapLog} checksum`;
}

/**
 * A context is some tens of megabytes that are given back only when garbage is collected, so one that is done is used again: images are
 * packed layer by layer.
 */
let idle: Binding.CCtx | undefined;

/** One frame, with a checksum and without the size of its content, which is not known when its head is written. */
export class ZstdCompressor implements Filter {
  readonly #sink: ByteSink;
  readonly #turns: EventLoopTurns;
  #context: Binding.CCtx | undefined;
  #ended = false;
  readonly #out = Buffer.allocUnsafeSlow(OUT_BYTES);

  constructor(level: number, sink: ByteSink, { signal, threads }: CompressorOptions) {
    const { CCtx, CParameter, ResetDirective } = zstd();
    const context = idle ?? new CCtx();
    idle = undefined;
    const { jobLog, overlapLog } = jobsOf(level);
    context.reset(ResetDirective.sessionAndParameters);
    context.setParameter(CParameter.compressionLevel, level);
    context.setParameter(CParameter.checksumFlag, 1);
    context.setParameter(CParameter.contentSizeFlag, 0);
    // Without any thread of its own the library packs in one piece, which gives other bytes. One more than there are processors: the caller
    // hashes besides, and may be late to feed the others.
    const workers = threads ?? availableParallelism() + 1;
    context.setParameter(CParameter.nbWorkers, Math.min(Math.max(1, workers), MAX_THREADS));
    context.setParameter(CParameter.jobSize, 2 ** jobLog);
    context.setParameter(CParameter.overlapLog, overlapLog);
    this.#context = context;
    this.#sink = sink;
    this.#turns = new EventLoopTurns(signal);
  }

  write(bytes: Uint8Array): void | Promise<void> {
    const { EndDirective } = zstd();
    for (let at = 0; at < bytes.length && this.#context !== undefined; ) {
      const [, produced, consumed] = this.#context.compressStream2(
        this.#out,
        bytes.subarray(at),
        EndDirective.continue,
      );
      at += consumed;
      const waiting = produced > 0 ? this.#sink.write(this.#out.subarray(0, produced)) : this.#turns.next();
      if (waiting !== undefined) return waiting.then(() => this.write(bytes.subarray(at)));
    }
  }

  async end(): Promise<void> {
    const { EndDirective } = zstd();
    for (let left = 1; left > 0 && this.#context !== undefined; ) {
      const [remaining, produced] = this.#context.compressStream2(this.#out, NOTHING, EndDirective.end);
      left = remaining;
      this.#ended = left === 0;
      await this.#sink.write(this.#out.subarray(0, produced));
      await this.#turns.next();
    }
  }

  close(): void {
    // The library crashes where a context is used again whose threads are still at work.
    if (this.#ended) idle ??= this.#context;
    this.#context = undefined;
  }
}

/** Frames may follow each other, skippable ones among them; nothing else may. */
export class ZstdDecompressor implements Filter {
  readonly #sink: ByteSink;
  readonly #title: string;
  readonly #turns = new EventLoopTurns();
  readonly #out = Buffer.allocUnsafeSlow(OUT_BYTES);
  #context: Binding.DCtx | undefined;
  /** In the middle of a frame, or before the first one. */
  #unfinished = true;

  constructor(sink: ByteSink, title: string) {
    const { DCtx, DParameter } = zstd();
    this.#context = new DCtx();
    this.#context.setParameter(DParameter.windowLogMax, MAX_WINDOW_LOG);
    this.#sink = sink;
    this.#title = title;
  }

  write(bytes: Uint8Array): void | Promise<void> {
    return this.#unpack(bytes, false);
  }

  /** @param full whether there may be more to come out, without anything going in */
  #unpack(bytes: Uint8Array, full: boolean): void | Promise<void> {
    for (let at = 0, more = full; (at < bytes.length || more) && this.#context !== undefined; ) {
      const [hint, produced, consumed] = this.#step(this.#context, bytes.subarray(at));
      at += consumed;
      more = produced === OUT_BYTES && hint !== 0;
      this.#unfinished = hint !== 0;
      const waiting = produced > 0 ? this.#sink.write(this.#out.subarray(0, produced)) : undefined;
      const due = waiting ?? this.#turns.next();
      if (due !== undefined) {
        const rest = bytes.subarray(at);
        const left = more;
        return due.then(() => this.#unpack(rest, left));
      }
    }
  }

  async end(): Promise<void> {
    if (this.#context !== undefined && this.#unfinished) throw this.#damaged(new Error("it ends within a frame"));
  }

  close(): void {
    this.#context = undefined;
  }

  #step(context: Binding.DCtx, bytes: Uint8Array): readonly [number, number, number] {
    try {
      return context.decompressStream(this.#out, bytes);
    } catch (error) {
      throw this.#damaged(error as Error);
    }
  }

  #damaged(cause: Error): OciNixError {
    return new OciNixError("invalid-input", `${this.#title}: damaged or cut off zstd data: ${cause.message}`, {
      cause,
    });
  }
}
