import { availableParallelism } from "node:os";
import type { BlobSource } from "../core/blob.js";
import { type LayerPlan, storePathsOf } from "../layers/plan.js";
import { tarBlob } from "../tar/writer.js";
import { layerEntries } from "./file-tree.js";
import type { ImagePlan, PlannedLayer } from "./image-plan.js";
import { LayerPipeline } from "./pipeline/pipeline.js";

/** The layers of an image as blobs: the one way their bytes are come by. */
export interface OpenLayers {
  /** The layer with this index. Layers are to be opened and written in order, each once. @throws OciNixError as {@link layerEntries} */
  open(index: number): Promise<BlobSource>;
  /** Ends all threads. */
  close(): Promise<void>;
}

/** More readers than this outrun one hash, and each takes memory. */
export const MAX_READERS = 4;

/**
 * Opens the layers of an image, bottom first.
 * @param options.threads threads that read files besides the caller's; 0 to read in the caller's own. By default one
 *   less than there are processors, as the caller's own hashes and writes, but at most {@link MAX_READERS}. The bytes do not depend on it.
 */
export function openLayers(
  plan: ImagePlan,
  options: { readonly signal?: AbortSignal | undefined; readonly threads?: number | undefined } = {},
): OpenLayers {
  const { signal, threads = Math.min(availableParallelism() - 1, MAX_READERS) } = options;
  const layerOptions = { ...plan.files, mtime: plan.mtime, signal };
  const storeLayers = plan.layers.flatMap((layer) => (layer.kind === "store" ? [layer.plan] : []));
  const pipeline =
    threads === 0 || storeLayers.length === 0
      ? undefined
      : new LayerPipeline(storeLayers, { ...layerOptions, threads });
  return {
    async open(index) {
      const layer = plan.layers[index] as PlannedLayer;
      if (layer.kind === "ready") return layer.blob;
      const title = titleOf(layer.plan);
      if (pipeline !== undefined) return await pipeline.layer(storeLayers.indexOf(layer.plan), title);
      return tarBlob(title, await layerEntries(layer.plan, layerOptions), layerOptions);
    },
    close: async () => await pipeline?.close(),
  };
}

function titleOf(plan: LayerPlan): string {
  const [first, ...others] = storePathsOf(plan);
  return others.length === 0 ? `${first}` : `${first} and ${others.length} more`;
}
