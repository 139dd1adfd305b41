import { type DigestCache, noCache } from "../cache/digest-cache.js";
import type { BlobSource } from "../core/blob.js";
import type { WriteProgress } from "../core/block-writer.js";
import { nullSink } from "../core/byte-sink.js";
import type { Compression } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { type Descriptor, layerMediaType, MediaType } from "../oci/manifest.js";
import type { KnownLayer } from "../transport/deliver.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { document, plannedManifest } from "./build.js";
import { digestLayers } from "./digest.js";
import { type ImagePlan, type PlannedLayer, pathsOf } from "./image-plan.js";
import { openLayers } from "./layers.js";
import { Packer, UNPACKED } from "./packer.js";
import type { LayerDigest } from "./pipeline/shared.js";
import { damagedPaths } from "./verify-layer.js";

/** How an image is built once more. */
export interface RebuildOptions {
  readonly signal?: AbortSignal | undefined;
  /** Threads at work besides the caller's. */
  readonly threads?: number | undefined;
  /** What is believed of layers that it knows, whose files are then not read; by default nothing is. */
  readonly cache?: DigestCache | undefined;
  /** How layers made from the store are packed, where it matters which blobs a build stores. It takes as long as a build. */
  readonly compression?: Compression | undefined;
  /** Told as layers are packed. */
  readonly progress?: WriteProgress | undefined;
}

/** What a planned image is, made anew and kept nowhere. */
export interface RebuiltImage {
  /** Layers made from the store are not packed, those of a base image are as they are there. Reading one makes it once more. */
  readonly image: StoredImage;
  /** The descriptors that a build stores, where {@link RebuildOptions.compression} was given; of layers bottom first. */
  readonly stored: { readonly manifest: Descriptor; readonly layers: readonly Descriptor[] } | undefined;
  /** The store paths of a layer that do not have the NAR hash any more which was recorded for them; undefined where none was. */
  damagedStorePaths(layer: number): Promise<readonly string[] | undefined>;
  /** Gives back the plan's files. */
  close(): void;
}

/**
 * Makes all layers of a planned image, writing nothing: every file of the store is read once. Layers of a base image are what the base
 * says of them.
 * @throws OciNixError as {@link openLayers}; the plan is then still open
 */
export async function rebuildImage(plan: ImagePlan, options: RebuildOptions = {}): Promise<RebuiltImage> {
  const { signal, compression, cache = noCache } = options;
  const believed = plan.layers.map((layer) => knownDigest(layer, cache));
  const made = compression === undefined ? await hash(plan, believed, options) : await pack(plan, compression, options);
  const digests = made.map((layer, i) => layer ?? (believed[i] as LayerDigest));
  const config = document(MediaType.config, plan.formatConfig(digests.map(({ diffId }) => diffId)));
  const blobs = made.flatMap((layer) => (layer?.known === undefined ? [] : [layer.known]));
  return {
    image: {
      names: plan.repoTags,
      manifest: undefined,
      config,
      layers: plan.layers.map((layer, i) => storedLayer(plan, layer, i, digests[i] as LayerDigest, signal)),
    },
    stored:
      compression === undefined
        ? undefined
        : {
            manifest: plannedManifest(plan, config.descriptor, blobs).descriptor,
            layers: blobs.map(({ blob }) => blob),
          },
    async damagedStorePaths(index) {
      const layer = plan.layers[index];
      if (layer?.kind !== "store") return undefined;
      const paths = layer.plan.contents.map(({ storePath }) => storePath);
      return await damagedPaths(paths, layer, { storeRoot: plan.files.storeRoot, signal });
    },
    close: () => plan.close(),
  };
}

type MadeLayer = LayerDigest & { readonly known?: KnownLayer };

/** What a layer unpacks to as far as it need not be made. Its size is only that of the blob where it is packed. */
function knownDigest(layer: PlannedLayer, cache: DigestCache): LayerDigest | undefined {
  if (layer.kind === "store") return layer.key === undefined ? undefined : cache.layer(layer.key);
  return layer.diffId && { diffId: layer.diffId, size: layer.descriptor?.size ?? blobSize(layer.blob) };
}

function blobSize(blob: BlobSource | (() => Promise<BlobSource>)): number {
  return typeof blob === "function" ? 0 : blob.size;
}

async function hash(
  plan: ImagePlan,
  believed: readonly (LayerDigest | undefined)[],
  { signal, threads }: RebuildOptions,
): Promise<readonly (MadeLayer | undefined)[]> {
  const needed = [...plan.layers.keys()].filter((i) => believed[i] === undefined);
  const digests = await digestLayers(plan, { signal, threads, needed });
  return plan.layers.map((_, i) => digests[i]);
}

/** As a build does it, but that nothing is remembered, and base layers are not read where they are known. */
async function pack(
  plan: ImagePlan,
  compression: Compression,
  { signal, threads, progress }: RebuildOptions,
): Promise<readonly MadeLayer[]> {
  const packing = { cache: noCache, signal, progress };
  const packer = new Packer(compression, packing);
  const keeper = new Packer(UNPACKED, packing);
  const isKnown = (layer: PlannedLayer) => layer.kind === "ready" && layer.descriptor !== undefined;
  const needed = [...plan.layers.keys()].filter((i) => !isKnown(plan.layers[i] as PlannedLayer));
  const layers = openLayers(plan, { signal, threads, needed });
  const made: MadeLayer[] = [];
  try {
    for (const [i, layer] of plan.layers.entries()) {
      const mediaType = layer.kind === "ready" ? layerMediaType(layer.compression ?? "none") : undefined;
      if (layer.kind === "ready" && layer.descriptor !== undefined && mediaType !== undefined) {
        const diffId = layer.diffId ?? layer.descriptor.digest;
        made.push({ diffId, size: layer.descriptor.size, known: { diffId, blob: { ...layer.descriptor, mediaType } } });
        continue;
      }
      const blob = await layers.open(i);
      const { size } = blob;
      if (mediaType === undefined) {
        const known = await packer.write(blob, nullSink, undefined);
        made.push({ diffId: known.diffId, size, known });
        continue;
      }
      const { blob: kept } = await keeper.write(blob, nullSink, undefined);
      const diffId = (layer.kind === "ready" ? layer.diffId : undefined) ?? kept.digest;
      made.push({ diffId, size, known: { diffId, blob: { ...kept, mediaType } } });
    }
    return made;
  } finally {
    await layers.close();
  }
}

function storedLayer(
  plan: ImagePlan,
  layer: PlannedLayer,
  index: number,
  { diffId, size }: LayerDigest,
  signal: AbortSignal | undefined,
): StoredLayer {
  const compression = layer.kind === "ready" ? (layer.compression ?? "none") : "none";
  const own = { mediaType: layerMediaType("none"), digest: diffId, size };
  const blob: BlobSource = {
    title: titleOf(layer),
    size,
    async writeTo(out): Promise<Digest> {
      const layers = openLayers(plan, { signal, threads: 0 });
      try {
        return await (await layers.open(index)).writeTo(out);
      } finally {
        await layers.close();
      }
    },
  };
  return {
    blob: layer.kind === "ready" && typeof layer.blob !== "function" ? layer.blob : blob,
    compression,
    descriptor: layer.kind === "ready" && compression !== "none" ? layer.descriptor : own,
    diffId,
  };
}

function titleOf(layer: PlannedLayer): string {
  const [first = "a layer", ...others] = pathsOf(layer);
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}
