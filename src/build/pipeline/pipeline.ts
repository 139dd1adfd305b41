import { MessageChannel, Worker } from "node:worker_threads";
import type { BlobSource } from "../../core/blob.js";
import type { BlockWriter } from "../../core/block-writer.js";
import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { FileTreeOptions } from "../file-tree.js";
import {
  Cell,
  CONTROL_LENGTH,
  type GeneratorData,
  type ListerData,
  type Report,
  SEGMENT,
  SLOTS,
  segmentsOf,
  startedCell,
} from "./shared.js";

/** How long the main thread waits for a segment before it lets the event loop run. */
const WAIT_MS = 5;

/**
 * Generates layers in other threads: one lists files ahead, the others each take on the next segment of the archive being written. The
 * caller's thread only hashes and writes, in order. Memory is bounded: {@link SLOTS} segments, and the file lists of a few layers.
 *
 * The bytes are those of {@link tarBlob}, whatever the number of threads.
 */
export class LayerPipeline {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_LENGTH));
  readonly #slots = new SharedArrayBuffer(SLOTS * SEGMENT);
  readonly #bytes = Buffer.from(this.#slots);
  readonly #workers: Worker[] = [];
  readonly #sizes: PromiseWithResolvers[];
  readonly #signal: AbortSignal | undefined;
  readonly #exits: Promise<unknown>[] = [];
  #failure: Error | undefined;
  #nextSegment = 0;

  /**
   * @param plans the layers in the order in which they will be written
   * @param threads generators; one more thread lists files
   */
  constructor(
    plans: readonly LayerPlan[],
    options: FileTreeOptions & { readonly mtime: number; readonly threads: number },
  ) {
    this.#signal = options.signal;
    this.#sizes = plans.map(withResolvers);
    const shared = {
      control: this.#control.buffer as SharedArrayBuffer,
      profile: options.profile.name,
      mtime: options.mtime,
    };
    const channels = Array.from({ length: options.threads }, () => new MessageChannel());
    const ports = channels.map(({ port1 }) => port1);
    const { storeRoot, owner } = options;
    this.#start({ ...shared, role: "lister", plans, storeRoot, owner, ports } satisfies ListerData, ports);
    for (const { port2 } of channels) {
      const data: GeneratorData = {
        ...shared,
        role: "generator",
        slots: this.#slots,
        layers: plans.length,
        port: port2,
      };
      this.#start(data, [port2]);
    }
  }

  /** The layer with this index, once its files are listed. Layers are to be written in order, each once. */
  async layer(index: number, title: string): Promise<BlobSource> {
    const size = await (this.#sizes[index] as PromiseWithResolvers).promise;
    return { title, size, writeTo: (out) => this.#writeLayer(size, out) };
  }

  /** Stops all threads and waits for their end. */
  async close(): Promise<void> {
    Atomics.store(this.#control, Cell.stop, 1);
    for (let cell = 0; cell < CONTROL_LENGTH; cell++) Atomics.notify(this.#control, cell);
    await Promise.all(this.#exits);
  }

  #start(data: ListerData | GeneratorData, transfer: ListerData["ports"]): void {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: data,
      transferList: [...transfer],
      // The caller's flags (a debugger, a profiler) are not for these.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    worker.on("message", (report: Report) => {
      if (report.kind === "listed") this.#sizes[report.index]?.resolve(report.size);
      else if (report.code === undefined) this.#fail(new Error(report.message));
      else
        this.#fail(
          new OciNixError(report.code, report.message, report.hint === undefined ? {} : { hint: report.hint }),
        );
    });
    worker.on("error", (error) => this.#fail(error));
    this.#exits.push(
      new Promise((resolve) => {
        worker.on("exit", (code) => {
          if (code !== 0) this.#fail(new Error(`a worker thread ended with exit code ${code}`));
          resolve(undefined);
        });
      }),
    );
    this.#workers.push(worker);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const size of this.#sizes) size.reject(this.#failure);
  }

  async #writeLayer(size: number, out: BlockWriter): Promise<Digest> {
    out.beginDigest();
    const first = this.#nextSegment;
    const count = segmentsOf(size);
    this.#nextSegment += count;
    for (let i = 0; i < count; i++) {
      const segment = first + i;
      const slot = segment % SLOTS;
      await this.#ready(slot, segment);
      const start = slot * SEGMENT;
      await out.pass(this.#bytes.subarray(start, start + Math.min(SEGMENT, size - i * SEGMENT)));
      out.progress.files += Atomics.load(this.#control, startedCell(slot));
      Atomics.add(this.#control, Cell.consumed, 1);
      Atomics.notify(this.#control, Cell.consumed);
    }
    Atomics.add(this.#control, Cell.layersDone, 1);
    Atomics.notify(this.#control, Cell.layersDone);
    return out.endDigest();
  }

  /** Waits until the slot holds the segment. @throws what ended a thread, or the signal's reason */
  async #ready(slot: number, segment: number): Promise<void> {
    const cell = Cell.slots + slot;
    for (;;) {
      const seen = Atomics.load(this.#control, cell);
      if (seen === segment + 1) return;
      if (Atomics.wait(this.#control, cell, seen, WAIT_MS) !== "timed-out") continue;
      // Messages and signals come through the event loop only.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#signal?.aborted) throw abortReason(this.#signal);
    }
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<number>;
  readonly resolve: (size: number) => void;
  readonly reject: (error: Error) => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: (size: number) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<number>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // Layers that are never asked for must not make a failure count as unhandled.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
