import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { BlockWriter } from "../../core/block-writer.js";
import type { Digest } from "../../core/digest.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { EntryListParts } from "../../tar/entry-list.js";
import { archiveSize, type TarBlob, type TarOptions } from "../../tar/writer.js";
import type { FileTreeOptions } from "../file-tree.js";
import { optionsFor } from "../layer-profile.js";
import {
  Cell,
  type LayerDigest,
  type ListedLayer,
  listKiB,
  type Report,
  SEGMENT,
  SLOTS,
  segmentsOf,
  startedCell,
  unitsOf,
  type Work,
} from "./shared.js";
import { Tasks } from "./tasks.js";
import { WorkerTeam } from "./worker-team.js";

/** How long the caller's thread waits for a segment before it lets the event loop run. */
const WAIT_MS = 5;

/**
 * Generates layers in several threads. Each takes on what is to be done next: a part of a layer whose files are to be listed, the next
 * segment of the archive being written, or a layer whose digest alone is wanted. The caller's thread hashes and writes, in order, and
 * does the same work as the others while it would have to wait for them. Memory is bounded: {@link SLOTS} segments, one more a thread,
 * and the file lists of the next layers.
 *
 * The bytes are those of {@link tarBlob}, whatever the number of threads.
 */
export class LayerPipeline {
  readonly #team: WorkerTeam;
  readonly #slots = new SharedArrayBuffer(SLOTS * SEGMENT);
  readonly #bytes = Buffer.from(this.#slots);
  readonly #tar: TarOptions;
  readonly #layers: readonly LayerState[];
  readonly #digests: readonly Deferred<LayerDigest>[];
  readonly #ports: MessagePort[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #tasks: Tasks;
  /** Published layers that this thread has not begun to generate. */
  readonly #ahead: ListedLayer[] = [];
  #failure: Error | undefined;
  #published = 0;
  #publishedSegments = 0;

  /** @param options.threads threads besides the caller's */
  constructor(work: Work, options: FileTreeOptions & TarOptions & { readonly threads: number }) {
    const { storeRoot, owner, profile, mtime, threads, signal } = options;
    this.#signal = signal;
    this.#tar = { profile, mtime };
    this.#layers = work.inTurn.map(({ tarProfile }) => ({
      tarProfile,
      missing: 0,
      lists: [],
      size: 0,
      listed: new Deferred(),
    }));
    for (const { layer } of unitsOf(work.inTurn, options)) (this.#layers[layer] as LayerState).missing++;
    this.#digests = work.apart.map(() => new Deferred());
    this.#team = new WorkerTeam(
      (report) => this.#take(report),
      (error) => this.#fail(error),
    );
    const { control } = this.#team;
    this.#tasks = new Tasks(
      { control, slots: this.#bytes },
      work,
      options,
      () => this.#ahead.shift() as ListedLayer,
      (report) => this.#take(report),
    );
    signal?.addEventListener("abort", this.#abort, { once: true });
    for (let i = 0; i < threads; i++) {
      const { port1, port2: port } = new MessageChannel();
      this.#ports.push(port1);
      const shared = { control: control.buffer as SharedArrayBuffer, slots: this.#slots };
      this.#team.start({ ...shared, ...work, storeRoot, owner, profile: profile.name, mtime, port }, [port]);
    }
  }

  readonly #abort = () => this.#fail(abortReason(this.#signal as AbortSignal));

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { listed } of this.#layers) listed.reject(error);
    for (const digest of this.#digests) digest.reject(error);
  }

  /** The layer in turn with this index, once its files are listed. Layers are to be written in order, each once. */
  async layer(index: number, title: string): Promise<TarBlob> {
    const { listed } = this.#layers[index] as LayerState;
    while (!listed.isSettled && (await this.#tasks.step())) await eventLoop();
    const layer = await listed.promise;
    const { size, isSettled } = layer;
    return { title, size, isSettled, writeTo: (out) => this.#writeLayer(layer, out) };
  }

  /** The digests of the layers apart, in their order. To be asked for last, as it uses the caller's thread, too. */
  async digests(): Promise<readonly LayerDigest[]> {
    while (this.#failure === undefined && (await this.#tasks.step())) await eventLoop();
    return await Promise.all(this.#digests.map(({ promise }) => promise));
  }

  #take(report: Report): void {
    if (report.kind === "digested") this.#digests[report.index]?.resolve(report.digest);
    else if (report.kind === "listed") this.#listed(report);
  }

  #listed({ layer, part, list, size }: Extract<Report, { kind: "listed" }>): void {
    const state = this.#layers[layer] as LayerState;
    state.lists[part] = list;
    state.size += size;
    state.missing--;
    // In order: generators take the layers as they come.
    for (let next = this.#layers[this.#published]; next?.missing === 0; next = this.#layers[this.#published]) {
      this.#publish(next);
    }
  }

  #publish(layer: LayerState): void {
    const { tarProfile } = layer;
    const size = archiveSize(layer.size, optionsFor(layer, this.#tar));
    const listed: ListedLayer = { lists: layer.lists, tarProfile, size, firstSegment: this.#publishedSegments };
    for (const port of this.#ports) port.postMessage(listed);
    this.#ahead.push(listed);
    this.#published++;
    this.#publishedSegments += segmentsOf(size);
    const { control } = this.#team;
    Atomics.store(control, Cell.publishedSegments, this.#publishedSegments);
    Atomics.store(control, Cell.publishedLayers, this.#published);
    this.#tick();
    const kib = layer.lists.reduce((sum, list) => sum + listKiB(list), 0);
    const isSettled = layer.lists.every((list) => list.isSettled);
    layer.lists = [];
    layer.listed.resolve({ size, isSettled, firstSegment: listed.firstSegment, listsKiB: kib });
  }

  /** Wakes whoever waits for something to do. */
  #tick(): void {
    Atomics.add(this.#team.control, Cell.tick, 1);
    Atomics.notify(this.#team.control, Cell.tick);
  }

  /** Stops all threads and waits for their end. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#abort);
    await this.#team.close();
    this.#tasks.close();
    for (const port of this.#ports) port.close();
  }

  async #writeLayer({ size, firstSegment, listsKiB }: Listed, out: BlockWriter): Promise<Digest> {
    const { control } = this.#team;
    out.beginDigest();
    out.whileFull = () => this.#tasks.shortStep();
    for (let i = 0; i < segmentsOf(size); i++) {
      const slot = (firstSegment + i) % SLOTS;
      await this.#ready(slot, firstSegment + i);
      const start = slot * SEGMENT;
      await out.pass(this.#bytes.subarray(start, start + Math.min(SEGMENT, size - i * SEGMENT)));
      out.progress.entries += Atomics.load(control, startedCell(slot));
      Atomics.add(control, Cell.consumed, 1);
      this.#tick();
    }
    Atomics.sub(control, Cell.listsKiB, listsKiB);
    this.#tick();
    // Written: this thread's generator, which may have had no part in it, does not need it any more.
    while (this.#ahead[0] !== undefined && this.#ahead[0].firstSegment <= firstSegment) this.#ahead.shift();
    out.whileFull = undefined;
    return out.endDigest();
  }

  /** Waits until the slot holds the segment, working meanwhile. @throws what ended a thread, or the signal's reason */
  async #ready(slot: number, segment: number): Promise<void> {
    const cell = Cell.slots + slot;
    for (;;) {
      const seen = Atomics.load(this.#team.control, cell);
      if (seen === segment + 1) return;
      if (this.#tasks.shortStep()) continue;
      if (Atomics.wait(this.#team.control, cell, seen, WAIT_MS) !== "timed-out") continue;
      // Messages and signals come through the event loop only.
      await eventLoop();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }
}

function eventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Listed {
  readonly size: number;
  readonly isSettled: boolean;
  readonly firstSegment: number;
  readonly listsKiB: number;
}

interface LayerState {
  readonly tarProfile: string | undefined;
  /** Parts not listed yet. */
  missing: number;
  /** Of the parts, in order; given away when the layer is published. */
  lists: EntryListParts[];
  /** Bytes of the entries of all parts. */
  size: number;
  readonly listed: Deferred<Listed>;
}

/** A promise that others settle. */
class Deferred<T> {
  isSettled = false;
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = (value) => {
        this.isSettled = true;
        resolve(value);
      };
      this.reject = (error) => {
        this.isSettled = true;
        reject(error);
      };
    });
    // What is never asked for must not make a failure count as unhandled.
    this.promise.catch(() => undefined);
  }
}
