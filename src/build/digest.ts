import { availableParallelism } from "node:os";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { nullSink } from "../core/byte-sink.js";
import type { ImagePlan, PlannedLayer } from "./image-plan.js";
import { MAX_READERS, openLayers } from "./layers.js";
import { digestApart, type LayerDigest } from "./pipeline/digesters.js";

/**
 * Hashes the layers of an image, bottom first, writing nothing. Every file is read once.
 *
 * Whole layers are hashed side by side, the largest first. Where one layer is more than a thread's share of the work, all threads read
 * for one layer after the other instead: a hash cannot be divided, but everything before it can.
 *
 * @param options.threads threads at work; 0 for the caller's own alone; by default the number of processors, at most
 *   {@link MAX_READERS} of which read where layers go in turn
 * @throws OciNixError as {@link openLayers}
 */
export async function digestLayers(
  plan: ImagePlan,
  options: { readonly signal?: AbortSignal | undefined; readonly threads?: number | undefined } = {},
): Promise<readonly LayerDigest[]> {
  const { signal, threads = availableParallelism() } = options;
  const order = apartOrder(plan.layers, threads);
  if (order === undefined) {
    return await digestInTurn(plan, signal, options.threads ?? Math.min(threads, MAX_READERS));
  }
  const storePlans = order.flatMap((index) => {
    const layer = plan.layers[index] as PlannedLayer;
    return layer.kind === "store" ? [layer.plan] : [];
  });
  const digests = await digestApart(storePlans, { ...plan.files, mtime: plan.mtime, signal, threads });
  const inOrder: LayerDigest[] = [];
  order.forEach((index, i) => {
    inOrder[index] = digests[i] as LayerDigest;
  });
  return inOrder;
}

async function digestInTurn(plan: ImagePlan, signal: AbortSignal | undefined, threads: number): Promise<LayerDigest[]> {
  const layers = openLayers(plan, { signal, threads });
  const out = new BlockWriter(nullSink, { blockSize: BULK_BLOCK_SIZE, signal });
  try {
    const digests: LayerDigest[] = [];
    for (const index of plan.layers.keys()) {
      const blob = await layers.open(index);
      digests.push({ diffId: await blob.writeTo(out), size: blob.size });
    }
    return digests;
  } finally {
    await layers.close();
  }
}

/** Indexes, largest layer first, where whole layers keep all threads equally busy; undefined where they do not. */
function apartOrder(layers: readonly PlannedLayer[], threads: number): readonly number[] | undefined {
  if (threads < 2) return undefined;
  const sizes: number[] = [];
  for (const layer of layers) {
    if (layer.kind !== "store" || layer.narSize === undefined) return undefined;
    sizes.push(layer.narSize);
  }
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (Math.max(...sizes) > (total / threads) * 1.1) return undefined;
  return [...sizes.keys()].sort((a, b) => (sizes[b] as number) - (sizes[a] as number) || a - b);
}
