import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { BlockWriter, BULK_BLOCK_SIZE } from "../../core/block-writer.js";
import type { ByteSink } from "../../core/byte-sink.js";
import { EntryList } from "../../tar/entry-list.js";
import { tarProfile } from "../../tar/profiles.js";
import { TarWriter, tarBlob, tarSize } from "../../tar/writer.js";
import { layerEntries } from "../file-tree.js";
import {
  Cell,
  type DigesterData,
  type GeneratorData,
  type ListedLayer,
  type ListerData,
  MAX_LISTS_KIB,
  type Report,
  reportOf,
  SEGMENT,
  SLOTS,
  segmentsOf,
  startedCell,
  type WorkerData,
} from "./shared.js";

/** The thread was told to stop while it waited. */
class Stopped extends Error {}

/** Waits until `ready` holds, looking again whenever the cell changes. */
function waitFor(control: Int32Array, cell: number, ready: () => boolean): void {
  for (;;) {
    const seen = Atomics.load(control, cell);
    if (Atomics.load(control, Cell.stop) === 1) throw new Stopped();
    if (ready()) return;
    // A stop changes another cell; the bound sees to it that it is noticed.
    Atomics.wait(control, cell, seen, 100);
  }
}

/** Lists the files of one layer after the other, ahead of the one being written. */
async function list(data: ListerData): Promise<void> {
  const control = new Int32Array(data.control);
  const profile = tarProfile(data.profile);
  let firstSegment = 0;
  for (const [index, plan] of data.plans.entries()) {
    waitFor(control, Cell.listsKiB, () => Atomics.load(control, Cell.listsKiB) < MAX_LISTS_KIB);
    const entries = await layerEntries(plan, { storeRoot: data.storeRoot, profile, owner: data.owner });
    const size = tarSize(entries, { profile, mtime: data.mtime });
    const layer: ListedLayer = { entries: entries.parts, size, firstSegment };
    for (const port of data.ports) port.postMessage(layer);
    firstSegment += segmentsOf(size);
    const listKiB = Math.ceil(entries.byteLength / 1024);
    Atomics.add(control, Cell.listsKiB, listKiB);
    Atomics.add(control, Cell.listed, 1);
    Atomics.notify(control, Cell.listed);
    parentPort?.postMessage({ kind: "listed", index, size, listKiB } satisfies Report);
  }
}

/** Takes on layer after layer and hashes it, writing nothing. */
async function digest(data: DigesterData): Promise<void> {
  const control = new Int32Array(data.control);
  const profile = tarProfile(data.profile);
  const sink: ByteSink = {
    write() {
      if (Atomics.load(control, Cell.stop) === 1) throw new Stopped();
    },
  };
  for (;;) {
    const index = Atomics.add(control, Cell.digesting, 1);
    const plan = data.plans[index];
    if (plan === undefined) return;
    const entries = await layerEntries(plan, { storeRoot: data.storeRoot, profile, owner: data.owner });
    const blob = tarBlob("layer", entries, { profile, mtime: data.mtime });
    const result = await blob.writeTo(new BlockWriter(sink, { blockSize: BULK_BLOCK_SIZE }));
    parentPort?.postMessage({ kind: "digested", index, size: blob.size, digest: result } satisfies Report);
  }
}

/** Takes on segment after segment and generates each into its slot, as soon as that is free. */
function generate(data: GeneratorData): void {
  const control = new Int32Array(data.control);
  const slots = Buffer.from(data.slots);
  const options = { profile: tarProfile(data.profile), mtime: data.mtime };
  const layers = layerReader(data.port, control, data.layers);
  let layer = layers();
  let writer: TarWriter | undefined;
  try {
    while (layer !== undefined) {
      const segment = Atomics.add(control, Cell.claimed, 1);
      while (layer !== undefined && segment >= layer.firstSegment + segmentsOf(layer.size)) {
        writer?.close();
        writer = undefined;
        layer = layers();
      }
      if (layer === undefined) return;
      writer ??= new TarWriter(EntryList.fromParts(layer.entries), options);
      waitFor(control, Cell.consumed, () => segment - Atomics.load(control, Cell.consumed) < SLOTS);
      const slot = segment % SLOTS;
      const offset = (segment - layer.firstSegment) * SEGMENT;
      writer.seek(offset);
      writer.started = 0;
      writer.fill(slots, slot * SEGMENT, slot * SEGMENT + Math.min(SEGMENT, layer.size - offset));
      Atomics.store(control, startedCell(slot), writer.started);
      Atomics.store(control, Cell.slots + slot, segment + 1);
      Atomics.notify(control, Cell.slots + slot);
    }
  } finally {
    writer?.close();
  }
}

/** Gives the listed layers in order, waiting for each; undefined after the last. */
function layerReader(port: MessagePort, control: Int32Array, count: number): () => ListedLayer | undefined {
  let given = 0;
  return () => {
    if (given === count) return undefined;
    waitFor(control, Cell.listed, () => Atomics.load(control, Cell.listed) > given);
    given++;
    return receiveMessageOnPort(port)?.message as ListedLayer | undefined;
  };
}

async function run(data: WorkerData): Promise<void> {
  try {
    if (data.role === "lister") await list(data);
    else if (data.role === "digester") await digest(data);
    else generate(data);
  } catch (error) {
    if (!(error instanceof Stopped)) parentPort?.postMessage(reportOf(error));
  }
}

await run(workerData as WorkerData);
