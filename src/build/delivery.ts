import type { DigestCache } from "../cache/digest-cache.js";
import type { BlobSource } from "../core/blob.js";
import type { WriteProgress } from "../core/block-writer.js";
import type { Digest } from "../core/digest.js";
import type { ImagePlan, PlannedLayer } from "./image-plan.js";
import { type OpenLayers, openLayers } from "./layers.js";

/** Told as the work goes on. */
export interface DeliveryObserver {
  /** Counts that grow while bytes go out; read at any time. */
  readonly progress: WriteProgress;
  onLayer(layer: {
    readonly title: string;
    readonly size: number;
    readonly index: number;
    readonly count: number;
  }): void;
}

/** How layers are made and sent. */
export interface DeliveryOptions {
  readonly signal?: AbortSignal | undefined;
  readonly observer?: DeliveryObserver | undefined;
  readonly threads?: number | undefined;
  /** What was made before, and what is made now; by default nothing is remembered. */
  readonly cache?: DigestCache | undefined;
}

/** An image that was delivered, and how much was written for it. */
export interface ImageSummary {
  readonly repoTags: readonly string[];
  /** Digest of the image config. */
  readonly imageId: Digest;
  readonly layers: readonly LayerSummary[];
  /** Bytes that were written. */
  readonly bytes: number;
  /** Tar entries that were written. */
  readonly entries: number;
}

/** A layer of an image that was made. */
export interface LayerSummary {
  readonly diffId: Digest;
  /** Bytes as they are stored. */
  readonly size: number;
  readonly storePaths: readonly string[];
}

/** The layers of a planned image as blobs, what is made of them being remembered. */
export class LayerReader {
  readonly #plan: ImagePlan;
  readonly #cache: DigestCache;
  readonly #options: DeliveryOptions;
  #layers: OpenLayers | undefined;

  constructor(plan: ImagePlan, cache: DigestCache, options: DeliveryOptions) {
    this.#plan = { ...plan, layers: plan.layers.map((layer) => withRemembered(layer, cache)) };
    this.#cache = cache;
    this.#options = options;
  }

  /** The layers, with what the cache remembers of them as what they must be, where nobody recorded anything else. */
  get layers(): readonly PlannedLayer[] {
    return this.#plan.layers;
  }

  /**
   * May be called again after {@link end}.
   * @param needed the layers that will be opened, each once and in order; of others nothing is read
   */
  start(needed: readonly number[]): void {
    const { signal, threads } = this.#options;
    this.#layers = openLayers(this.#plan, { signal, threads, needed });
  }

  async open(index: number): Promise<BlobSource> {
    const { observer } = this.#options;
    const blob = await (this.#layers as OpenLayers).open(index);
    const { title, size } = blob;
    observer?.onLayer({ title, size, index, count: this.#plan.layers.length });
    const layer = this.#plan.layers[index] as PlannedLayer;
    if (layer.kind !== "store" || layer.key === undefined || layer.recorded !== undefined || !blob.isSettled)
      return blob;
    const { key } = layer;
    return {
      ...blob,
      writeTo: async (out) => {
        const diffId = await blob.writeTo(out);
        this.#cache.rememberLayer(key, { diffId, size }, title);
        return diffId;
      },
    };
  }

  /** Ends all threads. Layers may be started again. */
  async end(): Promise<void> {
    await this.#layers?.close();
    this.#layers = undefined;
  }

  /** Ends all threads and closes the plan's files. */
  async close(): Promise<void> {
    await this.end();
    this.#plan.close();
  }
}

function withRemembered(layer: PlannedLayer, cache: DigestCache): PlannedLayer {
  if (layer.kind !== "store" || layer.key === undefined || layer.recorded !== undefined) return layer;
  const { key } = layer;
  const known = cache.layer(key);
  return known === undefined ? layer : { ...layer, recorded: { ...known, forget: () => cache.forgetLayer(key) } };
}
