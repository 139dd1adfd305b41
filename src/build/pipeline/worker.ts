import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { BlockWriter, BULK_BLOCK_SIZE } from "../../core/block-writer.js";
import type { ByteSink } from "../../core/byte-sink.js";
import { EntryList } from "../../tar/entry-list.js";
import { tarProfile } from "../../tar/profiles.js";
import { entriesSize, TarWriter, tarBlob } from "../../tar/writer.js";
import { layerEntries, partEntries } from "../file-tree.js";
import {
  Cell,
  type DigesterData,
  type GeneratorData,
  type ListedLayer,
  listKiB,
  MAX_LISTS_KIB,
  type Report,
  reportOf,
  SEGMENT,
  SLOTS,
  segmentsOf,
  startedCell,
  unitsOf,
  type WorkerData,
} from "./shared.js";

/** A stop changes the tick, too; the bound is for a notification that came just before the wait. */
const WAIT_MS = 50;

/** Lists parts of layers and generates segments, whatever is to be done next, until all is generated. */
async function generate(data: GeneratorData): Promise<void> {
  const control = new Int32Array(data.control);
  const load = (cell: number) => Atomics.load(control, cell);
  const slots = Buffer.from(data.slots);
  const options = { profile: tarProfile(data.profile), mtime: data.mtime };
  const fileOptions = { storeRoot: data.storeRoot, profile: options.profile, owner: data.owner };
  const units = unitsOf(data.plans, options.profile);

  const claim = (cell: number, isFree: (claimed: number) => boolean): number | undefined => {
    for (;;) {
      const claimed = load(cell);
      if (!isFree(claimed)) return undefined;
      if (Atomics.compareExchange(control, cell, claimed, claimed + 1) === claimed) return claimed;
    }
  };
  const claimUnit = () => {
    // Lists are freed by writing only: with nothing to write, listing goes on whatever there is already.
    const isFull = load(Cell.listsKiB) >= MAX_LISTS_KIB && load(Cell.publishedSegments) > load(Cell.consumed);
    return claim(Cell.listing, (claimed) => claimed < units.length && !isFull);
  };
  const claimSegment = () =>
    claim(Cell.claimed, (claimed) => claimed < load(Cell.publishedSegments) && claimed - load(Cell.consumed) < SLOTS);

  const listUnit = async (index: number) => {
    const { layer, part } = units[index] as (typeof units)[number];
    const entries = await partEntries(data.plans[layer] as (typeof data.plans)[number], part, fileOptions);
    const list = entries.parts;
    Atomics.add(control, Cell.listsKiB, listKiB(list));
    parentPort?.postMessage({
      kind: "listed",
      unit: index,
      list,
      size: entriesSize(entries, options),
    } satisfies Report);
  };

  let layer: ListedLayer | undefined;
  let writer: TarWriter | undefined;
  const generateSegment = (segment: number) => {
    while (layer === undefined || segment >= layer.firstSegment + segmentsOf(layer.size)) {
      writer?.close();
      writer = undefined;
      layer = receiveMessageOnPort(data.port)?.message as ListedLayer;
    }
    writer ??= new TarWriter(EntryList.join(layer.lists), options);
    const slot = segment % SLOTS;
    const offset = (segment - layer.firstSegment) * SEGMENT;
    writer.seek(offset);
    writer.started = 0;
    writer.fill(slots, slot * SEGMENT, slot * SEGMENT + Math.min(SEGMENT, layer.size - offset));
    Atomics.store(control, startedCell(slot), writer.started);
    Atomics.store(control, Cell.slots + slot, segment + 1);
    Atomics.notify(control, Cell.slots + slot);
  };

  try {
    while (load(Cell.stop) === 0) {
      const tick = load(Cell.tick);
      // Little left to generate: list first, lest everybody runs dry at the end of a layer.
      const runsDry = load(Cell.publishedSegments) - load(Cell.claimed) < SLOTS;
      const unit = runsDry ? claimUnit() : undefined;
      const segment = unit === undefined ? claimSegment() : undefined;
      const other = unit ?? (segment === undefined ? claimUnit() : undefined);
      if (segment !== undefined) generateSegment(segment);
      else if (other !== undefined) await listUnit(other);
      else if (
        load(Cell.publishedLayers) === data.plans.length &&
        load(Cell.claimed) === load(Cell.publishedSegments)
      ) {
        return;
      } else Atomics.wait(control, Cell.tick, tick, WAIT_MS);
    }
  } finally {
    writer?.close();
  }
}

/** Takes on layer after layer and hashes it, writing nothing. */
async function digest(data: DigesterData): Promise<void> {
  const control = new Int32Array(data.control);
  const profile = tarProfile(data.profile);
  const options = { storeRoot: data.storeRoot, profile, owner: data.owner, mtime: data.mtime };
  const sink: ByteSink = {
    write() {
      if (Atomics.load(control, Cell.stop) === 1) throw new Stopped();
    },
  };
  for (;;) {
    const index = Atomics.add(control, Cell.digesting, 1);
    const plan = data.plans[index];
    if (plan === undefined) return;
    const blob = tarBlob("layer", await layerEntries(plan, options), options);
    const result = await blob.writeTo(new BlockWriter(sink, { blockSize: BULK_BLOCK_SIZE }));
    parentPort?.postMessage({ kind: "digested", index, size: blob.size, digest: result } satisfies Report);
  }
}

/** The thread was told to stop. */
class Stopped extends Error {}

async function run(data: WorkerData): Promise<void> {
  try {
    if (data.role === "digester") await digest(data);
    else await generate(data);
  } catch (error) {
    if (!(error instanceof Stopped)) parentPort?.postMessage(reportOf(error));
  }
}

await run(workerData as WorkerData);
