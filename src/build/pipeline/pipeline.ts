import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { BlobSource } from "../../core/blob.js";
import type { BlockWriter } from "../../core/block-writer.js";
import type { Digest } from "../../core/digest.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { EntryListParts } from "../../tar/entry-list.js";
import { archiveSize, type TarOptions } from "../../tar/writer.js";
import type { FileTreeOptions } from "../file-tree.js";
import {
  Cell,
  type ListedLayer,
  listKiB,
  type Report,
  SEGMENT,
  SLOTS,
  segmentsOf,
  startedCell,
  type Unit,
  unitsOf,
} from "./shared.js";
import { WorkerTeam } from "./worker-team.js";

/** How long the main thread waits for a segment before it lets the event loop run. */
const WAIT_MS = 5;

/**
 * Generates layers in other threads. Each takes on what is to be done next: a part of a layer whose files are to be listed, or the next
 * segment of the archive being written. The caller's thread only hashes and writes, in order. Memory is bounded: {@link SLOTS}
 * segments, and the file lists of the next layers.
 *
 * The bytes are those of {@link tarBlob}, whatever the number of threads.
 */
export class LayerPipeline {
  readonly #team: WorkerTeam;
  readonly #slots = new SharedArrayBuffer(SLOTS * SEGMENT);
  readonly #bytes = Buffer.from(this.#slots);
  readonly #tar: TarOptions;
  readonly #units: readonly Unit[];
  readonly #layers: LayerState[];
  readonly #ports: MessagePort[] = [];
  readonly #signal: AbortSignal | undefined;
  #published = 0;
  #publishedSegments = 0;

  /** @param plans the layers in the order in which they will be written */
  constructor(
    plans: readonly LayerPlan[],
    options: FileTreeOptions & { readonly mtime: number; readonly threads: number },
  ) {
    const { storeRoot, owner, profile, mtime, threads, signal } = options;
    this.#signal = signal;
    this.#tar = { profile, mtime };
    this.#units = unitsOf(plans, profile);
    this.#layers = plans.map(newLayerState);
    for (const { layer } of this.#units) (this.#layers[layer] as LayerState).missing++;
    this.#team = new WorkerTeam(
      (report) => {
        if (report.kind === "listed") this.#listed(report);
      },
      (error) => {
        for (const layer of this.#layers) layer.reject(error);
      },
    );
    const control = this.#team.control.buffer as SharedArrayBuffer;
    for (let i = 0; i < threads; i++) {
      const { port1, port2: port } = new MessageChannel();
      this.#ports.push(port1);
      const shared = { control, plans, storeRoot, owner, profile: profile.name, mtime };
      this.#team.start({ ...shared, role: "generator", slots: this.#slots, port }, [port]);
    }
  }

  /** The layer with this index, once its files are listed. Layers are to be written in order, each once. */
  async layer(index: number, title: string): Promise<BlobSource> {
    const listed = await (this.#layers[index] as LayerState).listed;
    return { title, size: listed.size, writeTo: (out) => this.#writeLayer(listed, out) };
  }

  #listed({ unit, list, size }: Extract<Report, { kind: "listed" }>): void {
    const { layer, index } = this.#units[unit] as Unit;
    const state = this.#layers[layer] as LayerState;
    state.lists[index] = list;
    state.size += size;
    state.missing--;
    // In order: generators take the layers as they come.
    for (let next = this.#layers[this.#published]; next?.missing === 0; next = this.#layers[this.#published]) {
      this.#publish(next);
    }
  }

  #publish(layer: LayerState): void {
    const size = archiveSize(layer.size, this.#tar);
    const listed: ListedLayer = { lists: layer.lists, size, firstSegment: this.#publishedSegments };
    for (const port of this.#ports) port.postMessage(listed);
    this.#published++;
    this.#publishedSegments += segmentsOf(size);
    const { control } = this.#team;
    Atomics.store(control, Cell.publishedSegments, this.#publishedSegments);
    Atomics.store(control, Cell.publishedLayers, this.#published);
    this.#tick();
    const kib = layer.lists.reduce((sum, list) => sum + listKiB(list), 0);
    layer.lists = [];
    layer.resolve({ size, firstSegment: listed.firstSegment, listsKiB: kib });
  }

  /** Wakes whoever waits for something to do. */
  #tick(): void {
    Atomics.add(this.#team.control, Cell.tick, 1);
    Atomics.notify(this.#team.control, Cell.tick);
  }

  /** Stops all threads and waits for their end. */
  async close(): Promise<void> {
    await this.#team.close();
    for (const port of this.#ports) port.close();
  }

  async #writeLayer({ size, firstSegment, listsKiB }: Listed, out: BlockWriter): Promise<Digest> {
    const { control } = this.#team;
    out.beginDigest();
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
  readonly firstSegment: number;
  readonly listsKiB: number;
}

interface LayerState {
  /** Parts not listed yet. */
  missing: number;
  /** Of the parts, in order; given away when the layer is published. */
  lists: EntryListParts[];
  /** Bytes of the entries of all parts. */
  size: number;
  readonly listed: Promise<Listed>;
  readonly resolve: (listed: Listed) => void;
  readonly reject: (error: Error) => void;
}

function newLayerState(): LayerState {
  let resolve!: (listed: Listed) => void;
  let reject!: (error: Error) => void;
  const listed = new Promise<Listed>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // Layers that are never asked for must not make a failure count as unhandled.
  listed.catch(() => undefined);
  return { missing: 0, lists: [], size: 0, listed, resolve, reject };
}
