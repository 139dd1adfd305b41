import { MessageChannel } from "node:worker_threads";
import type { BlobSource } from "../../core/blob.js";
import type { BlockWriter } from "../../core/block-writer.js";
import type { Digest } from "../../core/digest.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { FileTreeOptions } from "../file-tree.js";
import { Cell, type GeneratorData, type ListerData, SEGMENT, SLOTS, segmentsOf, startedCell } from "./shared.js";
import { WorkerTeam } from "./worker-team.js";

/** How long the main thread waits for a segment before it lets the event loop run. */
const WAIT_MS = 5;

/**
 * Generates layers in other threads: one lists files ahead, the others each take on the next segment of the archive being written. The
 * caller's thread only hashes and writes, in order. Memory is bounded: {@link SLOTS} segments, and the file lists of the next layers.
 *
 * The bytes are those of {@link tarBlob}, whatever the number of threads.
 */
export class LayerPipeline {
  readonly #team: WorkerTeam;
  readonly #slots = new SharedArrayBuffer(SLOTS * SEGMENT);
  readonly #bytes = Buffer.from(this.#slots);
  readonly #listed: PromiseWithResolvers[];
  readonly #signal: AbortSignal | undefined;
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
    this.#listed = plans.map(withResolvers);
    this.#team = new WorkerTeam(
      (report) => {
        if (report.kind === "listed") this.#listed[report.index]?.resolve(report);
      },
      (error) => {
        for (const size of this.#listed) size.reject(error);
      },
    );
    const shared = {
      control: this.#team.control.buffer as SharedArrayBuffer,
      profile: options.profile.name,
      mtime: options.mtime,
    };
    const channels = Array.from({ length: options.threads }, () => new MessageChannel());
    const ports = channels.map(({ port1 }) => port1);
    const { storeRoot, owner } = options;
    this.#team.start({ ...shared, role: "lister", plans, storeRoot, owner, ports } satisfies ListerData, ports);
    for (const { port2 } of channels) {
      const data: GeneratorData = {
        ...shared,
        role: "generator",
        slots: this.#slots,
        layers: plans.length,
        port: port2,
      };
      this.#team.start(data, [port2]);
    }
  }

  /** The layer with this index, once its files are listed. Layers are to be written in order, each once. */
  async layer(index: number, title: string): Promise<BlobSource> {
    const { size, listKiB } = await (this.#listed[index] as PromiseWithResolvers).promise;
    return { title, size, writeTo: (out) => this.#writeLayer(size, listKiB, out) };
  }

  /** Stops all threads and waits for their end. */
  async close(): Promise<void> {
    await this.#team.close();
  }

  async #writeLayer(size: number, listKiB: number, out: BlockWriter): Promise<Digest> {
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
      out.progress.files += Atomics.load(this.#team.control, startedCell(slot));
      Atomics.add(this.#team.control, Cell.consumed, 1);
      Atomics.notify(this.#team.control, Cell.consumed);
    }
    Atomics.sub(this.#team.control, Cell.listsKiB, listKiB);
    Atomics.notify(this.#team.control, Cell.listsKiB);
    return out.endDigest();
  }

  /** Waits until the slot holds the segment. @throws what ended a thread, or the signal's reason */
  async #ready(slot: number, segment: number): Promise<void> {
    const cell = Cell.slots + slot;
    for (;;) {
      const seen = Atomics.load(this.#team.control, cell);
      if (seen === segment + 1) return;
      if (Atomics.wait(this.#team.control, cell, seen, WAIT_MS) !== "timed-out") continue;
      // Messages and signals come through the event loop only.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#team.failure !== undefined) throw this.#team.failure;
      if (this.#signal?.aborted) throw abortReason(this.#signal);
    }
  }
}

interface Listed {
  readonly size: number;
  readonly listKiB: number;
}

interface PromiseWithResolvers {
  readonly promise: Promise<Listed>;
  readonly resolve: (listed: Listed) => void;
  readonly reject: (error: Error) => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: (listed: Listed) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<Listed>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // Layers that are never asked for must not make a failure count as unhandled.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
