import { availableParallelism } from "node:os";
import type { BlobSource } from "../core/blob.js";
import { type LayerPlan, storePathsOf } from "../layers/plan.js";
import { type TarBlob, tarBlob } from "../tar/writer.js";
import { layerEntries } from "./file-tree.js";
import type { ImagePlan, PlannedLayer } from "./image-plan.js";
import { optionsFor } from "./layer-profile.js";
import { LayerPipeline } from "./pipeline/pipeline.js";
import type { LayerDigest } from "./pipeline/shared.js";
import { type StoreLayer, verifiedBlob, verifyLayer } from "./verify-layer.js";

/** A layer that is to be written. */
export interface OpenLayer extends BlobSource {
  /** Whether it will be the same bytes whenever it is made of these store paths; see {@link TarBlob}. */
  readonly isSettled: boolean;
}

/** The layers of an image as blobs: the one way their bytes are come by. */
export interface OpenLayers {
  /** The layer with this index. Layers are to be opened and written in order, each once. @throws OciNixError as {@link layerEntries} */
  open(index: number): Promise<OpenLayer>;
  /** Whether the layer is not to be opened, as its digest is made apart. */
  isApart(index: number): boolean;
  /** The digests that are made apart, by index; to be asked for after all other layers are written. */
  digests(): Promise<ReadonlyMap<number, LayerDigest>>;
  /** Ends all threads. */
  close(): Promise<void>;
}

/** More readers than this outrun one hash, and each takes memory. */
const MAX_READERS = 4;

/**
 * Opens the layers of an image, bottom first.
 * @param options.threads threads that read files besides the caller's; 0 to read in the caller's own. By default one
 *   less than there are processors, as the caller's own hashes and writes, but at most {@link MAX_READERS}. The bytes do not depend on it.
 * @param options.needed indexes of the layers that are opened, all by default; of others nothing is read
 * @param options.apart indexes of layers of which only the digest is wanted, in the order in which they are best begun; without
 *   threads they are opened like the others
 */
export function openLayers(
  plan: ImagePlan,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly threads?: number | undefined;
    readonly needed?: readonly number[];
    readonly apart?: readonly number[];
  } = {},
): OpenLayers {
  const { signal, threads = Math.min(availableParallelism() - 1, MAX_READERS) } = options;
  const needed = options.needed ?? [...plan.layers.keys()];
  const layerOptions = { ...plan.files, mtime: plan.mtime, signal };
  const apart = threads === 0 ? [] : (options.apart ?? []);
  const isApart = (index: number) => apart.includes(index);
  const inTurn = needed.filter((i) => plan.layers[i]?.kind === "store" && !isApart(i));
  const storeLayerAt = (index: number) => plan.layers[index] as StoreLayer;
  const placeOf = (index: number) => ({ ...layerOptions, number: index + 1 });
  const planOf = (index: number) => storeLayerAt(index).plan;
  const pipeline =
    threads === 0 || inTurn.length + apart.length === 0
      ? undefined
      : new LayerPipeline({ inTurn: inTurn.map(planOf), apart: apart.map(planOf) }, { ...layerOptions, threads });
  return {
    async open(index) {
      const layer = plan.layers[index] as PlannedLayer;
      if (layer.kind === "ready") {
        return { ...(typeof layer.blob === "function" ? await layer.blob() : layer.blob), isSettled: true };
      }
      const title = titleOf(layer.plan);
      const blob =
        pipeline === undefined
          ? tarBlob(title, await layerEntries(layer.plan, layerOptions), optionsFor(layer.plan, layerOptions))
          : await pipeline.layer(inTurn.indexOf(index), title);
      return await verifiedBlob(blob, layer, placeOf(index));
    },
    isApart,
    async digests() {
      const digests = (await pipeline?.digests()) ?? [];
      const byIndex = digests.map((digest, i) => [apart[i] as number, digest] as const);
      for (const [index, digest] of byIndex) await verifyLayer(digest, storeLayerAt(index), placeOf(index));
      return new Map(byIndex);
    },
    close: async () => await pipeline?.close(),
  };
}

function titleOf(plan: LayerPlan): string {
  const [first = plan.reason, ...others] = storePathsOf(plan);
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}
