import type { BlobCache } from "../cache/blob-cache.js";
import { noCache } from "../cache/digest-cache.js";
import type { BlobSource } from "../core/blob.js";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { type ByteSink, nullSink } from "../core/byte-sink.js";
import type { Compression } from "../core/compression.js";
import { type Digest, sha256 } from "../core/digest.js";
import { type Descriptor, formatManifest, layerMediaType, MediaType, withAnnotations } from "../oci/manifest.js";
import { deliver, type KnownLayer, type OutgoingImage, type OutgoingLayer } from "../transport/deliver.js";
import { type ForeseenLayer, foresee } from "../transport/foresee.js";
import type { Document, ImageTarget } from "../transport/image.js";
import { type DeliveryOptions, type ImageSummary, LayerReader, type LayerSummary } from "./delivery.js";
import { type ImagePlan, type PlannedLayer, pathsOf } from "./image-plan.js";
import { Packer, UNPACKED } from "./packer.js";
import { storePathsAnnotations } from "./recorded-store-paths.js";

/** How layers made from the store are packed and kept, besides how they are sent. */
export interface BuildOptions extends DeliveryOptions {
  /** Of layers made from the store, instead of the plan's; those of a base image stay as they are. By default they are not packed. */
  readonly compression?: Compression | undefined;
  /** Packed layers that are kept. */
  readonly blobCache?: BlobCache | undefined;
}

type ReadyLayer = Extract<PlannedLayer, { kind: "ready" }>;

/** An image that was built, with its manifest. */
export interface BuildSummary extends ImageSummary {
  /** Digest of the manifest. */
  readonly manifest: Digest;
  readonly layers: readonly BuiltLayer[];
}

/** A layer as it is in an image that was built. */
export interface BuiltLayer extends LayerSummary {
  readonly mediaType: string;
  /** Of the blob as it is stored. */
  readonly digest: Digest;
  /** Whether its bytes were made; else every target had it. */
  readonly written: boolean;
}

/**
 * Brings a planned image to all targets, reading every file at most once: of a layer that is remembered and that every target has none.
 * Afterwards the plan's files and the targets are closed.
 * @throws OciNixError see {@link deliver}
 */
export async function buildPlannedImage(
  plan: ImagePlan,
  targets: readonly ImageTarget[],
  options: BuildOptions = {},
): Promise<BuildSummary> {
  const progress = options.observer?.progress ?? { bytes: 0, entries: 0 };
  const reader = new LayerReader(plan, options.cache ?? noCache, options);
  try {
    const [image] = await deliver([outgoingImage(plan, reader, { ...options, progress })], targets);
    if (image === undefined) throw new Error("one image gives one");
    const { manifest, config, layers, diffIds, written } = image;
    return {
      repoTags: plan.repoTags,
      manifest: manifest.digest,
      imageId: config.digest,
      layers: layers.map(({ mediaType, digest, size }, i) => ({
        diffId: diffIds[i] as Digest,
        size,
        storePaths: pathsOf(plan.layers[i] as PlannedLayer),
        mediaType,
        digest,
        written: written.includes(i),
      })),
      bytes: progress.bytes,
      entries: progress.entries,
    };
  } finally {
    await reader.close();
    await Promise.all(targets.map((target) => target.close()));
  }
}

/**
 * Says what {@link buildPlannedImage} would do at each target, without reading a layer or changing anything. Afterwards the plan's files
 * and the targets are closed.
 */
export async function foreseeBuild(
  plan: ImagePlan,
  targets: readonly ImageTarget[],
  options: BuildOptions = {},
): Promise<readonly ForeseenLayer[]> {
  const reader = new LayerReader(plan, options.cache ?? noCache, options);
  try {
    const image = outgoingImage(plan, reader, { ...options, progress: { bytes: 0, entries: 0 } });
    return (await foresee([image], targets))[0] as readonly ForeseenLayer[];
  } finally {
    await reader.close();
    await Promise.all(targets.map((target) => target.close()));
  }
}

function outgoingImage(
  plan: ImagePlan,
  reader: LayerReader,
  options: BuildOptions & { readonly progress: { bytes: number; entries: number } },
): OutgoingImage {
  const { compression = plan.compression ?? UNPACKED, cache = noCache, blobCache, signal, progress } = options;
  const packing = { cache, blobCache, signal, progress };
  const packer = new Packer(compression, packing);
  const keeper = new Packer(UNPACKED, packing);
  const layers = reader.layers.map((layer): OutgoingLayer => {
    if (layer.kind === "ready") return readyLayer(layer);
    const known = layer.recorded && packer.known(layer.recorded);
    return { compression: packer.name, known, file: async () => known && (await packer.file(known)) };
  });
  return {
    names: plan.repoTags,
    layers,
    open(indexes) {
      reader.start(indexes.filter((index) => packer.foundFile(layers[index]?.known) === undefined));
      return {
        async write(index, sink) {
          const { known } = layers[index] as OutgoingLayer;
          const layer = reader.layers[index] as PlannedLayer;
          const file = packer.foundFile(known);
          if (file !== undefined && known !== undefined) return await packer.copy(file, known, sink);
          const blob = await reader.open(index);
          return layer.kind === "ready" ? await writeReady(layer, blob, sink) : await packer.write(blob, sink, known);
        },
        close: () => reader.end(),
      };
    },
    config: (known) => document(MediaType.config, plan.formatConfig(known.map(({ diffId }) => diffId))),
    manifest: (config, known) => plannedManifest(plan, config, known),
  };

  async function writeReady(
    { diffId, compression = "none" }: ReadyLayer,
    blob: BlobSource,
    sink: ByteSink,
  ): Promise<KnownLayer> {
    const { blob: written } = await keeper.write(blob, sink, undefined);
    return { blob: { ...written, mediaType: layerMediaType(compression) }, diffId: diffId ?? written.digest };
  }
}

/** The manifest of a planned image, of its config and its layers as they became. */
export function plannedManifest(plan: ImagePlan, config: Descriptor, layers: readonly KnownLayer[]): Document {
  const annotations = storePathsAnnotations(plan.layers);
  const described = layers.map(({ blob }, i) => withAnnotations(blob, annotations[i] ?? {}));
  return document(MediaType.manifest, formatManifest(config, described));
}

/** A layer that is at hand stays as it is. */
function readyLayer({ compression = "none", diffId, descriptor, blob }: ReadyLayer): OutgoingLayer {
  if (descriptor === undefined || diffId === undefined) return { compression, known: undefined };
  const known = { blob: { ...descriptor, mediaType: layerMediaType(compression) }, diffId };
  return { compression, known, file: async () => (typeof blob === "function" ? undefined : await verifiedFile(blob)) };
}

/** The file that holds just the blob, once its bytes are verified. @throws OciNixError `verification` */
export async function verifiedFile(blob: BlobSource): Promise<string | undefined> {
  if (blob.file === undefined) return undefined;
  await blob.writeTo(new BlockWriter(nullSink, { blockSize: BULK_BLOCK_SIZE }));
  return blob.file;
}

/** A document that we wrote. */
export function document(mediaType: string, text: string): Document {
  const bytes = Buffer.from(text);
  const descriptor: Descriptor = { mediaType, digest: sha256(bytes), size: bytes.length };
  return { descriptor, bytes };
}
