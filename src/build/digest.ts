import { availableParallelism } from "node:os";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { nullSink } from "../core/byte-sink.js";
import type { ImagePlan, PlannedLayer } from "./image-plan.js";
import { openLayers } from "./layers.js";
import type { LayerDigest } from "./pipeline/shared.js";

/**
 * Hashes the layers of an image, bottom first, writing nothing. Every file is read once.
 *
 * Whole layers are hashed side by side, the largest first. For a layer that is more than a thread's share of the work, the other threads
 * read while the caller's hashes: a hash cannot be divided, but everything before it can.
 *
 * @param options.threads threads at work besides the caller's; by default one less than there are processors
 * @param options.needed indexes of the layers that are hashed, all by default; of others nothing is read, and nothing given
 * @throws OciNixError as {@link openLayers}
 */
export async function digestLayers(
  plan: ImagePlan,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly threads?: number | undefined;
    readonly needed?: readonly number[];
  } = {},
): Promise<readonly LayerDigest[]> {
  const { signal, threads = availableParallelism() - 1, needed = [...plan.layers.keys()] } = options;
  const apart = smallLayers(plan.layers, threads + 1).filter((index) => needed.includes(index));
  const layers = openLayers(plan, { signal, threads, needed, apart });
  const out = new BlockWriter(nullSink, { blockSize: BULK_BLOCK_SIZE, signal });
  try {
    const digests: LayerDigest[] = [];
    for (const index of needed) {
      if (layers.isApart(index)) continue;
      const blob = await layers.open(index);
      digests[index] = { diffId: await blob.writeTo(out), size: blob.size };
    }
    for (const [index, digest] of await layers.digests()) digests[index] = digest;
    return digests;
  } finally {
    await layers.close();
  }
}

/** Indexes of the layers that take no more than a thread's share of the work, largest first. */
function smallLayers(layers: readonly PlannedLayer[], threads: number): readonly number[] {
  const sizes = layers.map((layer) => (layer.kind === "store" ? layer.narSize : undefined));
  const total = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  // Without sizes nobody knows which layer is the large one.
  if (layers.some((layer, i) => layer.kind === "store" && sizes[i] === undefined)) return [];
  return [...sizes.keys()]
    .filter((index) => (sizes[index] ?? Number.POSITIVE_INFINITY) <= total / threads)
    .sort((a, b) => (sizes[b] as number) - (sizes[a] as number) || a - b);
}
