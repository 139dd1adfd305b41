import { noCache } from "../cache/digest-cache.js";
import type { Digest } from "../core/digest.js";
import { isJsonObject, type Json, parseJson } from "../core/json.js";
import {
  COMPRESSION_ANNOTATION,
  type Descriptor,
  formatManifest,
  layerMediaType,
  MediaType,
  STORE_DIR_ANNOTATION,
  STORE_PATHS_ANNOTATION,
  withAnnotations,
} from "../oci/manifest.js";
import {
  type DeliveredImage,
  deliver,
  type KnownLayer,
  type OutgoingImage,
  type OutgoingLayer,
} from "../transport/deliver.js";
import { type ForeseenLayer, foresee } from "../transport/foresee.js";
import type { ImageTarget, StoredImage, StoredLayer } from "../transport/image.js";
import { writeUnpacked } from "../transport/stored-layer.js";
import { type BuildOptions, document, verifiedFile } from "./build.js";
import { Packer, UNPACKED } from "./packer.js";

/** By default layers stay as they are stored. */
export type CopyOptions = Omit<BuildOptions, "threads">;

/**
 * Brings stored images to all targets. What stays as it is keeps its bytes: a blob that a target has is not read, one that can be linked
 * is linked, and an OCI manifest of which all layers stay is the same there. Afterwards the targets are closed.
 * @throws OciNixError see {@link deliver}; `verification` where stored bytes are not what the image says they are
 */
export async function copyImages(
  images: readonly StoredImage[],
  targets: readonly ImageTarget[],
  options: CopyOptions = {},
): Promise<readonly DeliveredImage[]> {
  try {
    const outgoing = images.map((image) => outgoingCopy(image, options));
    return await deliver(outgoing, targets);
  } finally {
    await Promise.all(targets.map((target) => target.close()));
  }
}

/**
 * Says of each image's layers what {@link copyImages} would do at each target, without reading a layer or changing anything. Afterwards
 * the targets are closed.
 */
export async function foreseeCopy(
  images: readonly StoredImage[],
  targets: readonly ImageTarget[],
  options: CopyOptions = {},
): Promise<readonly (readonly ForeseenLayer[])[]> {
  try {
    const outgoing = images.map((image) => outgoingCopy(image, options));
    return await foresee(outgoing, targets);
  } finally {
    await Promise.all(targets.map((target) => target.close()));
  }
}

function outgoingCopy(image: StoredImage, options: CopyOptions): OutgoingImage {
  const { compression, cache = noCache, blobCache, signal, observer } = options;
  const packing = { cache, blobCache, signal, ...(observer === undefined ? {} : { progress: observer.progress }) };
  const packer = compression === undefined ? undefined : new Packer(compression, packing);
  const keeper = new Packer(UNPACKED, packing);
  /** Who packs the layer anew; undefined where it stays as it is. */
  const packerOf = ({ compression: stored, descriptor }: StoredLayer) =>
    packer?.made(stored, descriptor?.annotations?.[COMPRESSION_ANNOTATION]) === false ? packer : undefined;
  const layers = image.layers.map((layer): OutgoingLayer => {
    const anew = packerOf(layer);
    if (anew === undefined) {
      return { compression: layer.compression, known: asStored(layer), file: () => verifiedFile(layer.blob) };
    }
    // How long the unpacked tar is only matters where it is not packed, and is not known.
    const known = anew.name === "none" ? undefined : anew.known({ diffId: layer.diffId, size: 0 });
    return { compression: anew.name, known, file: async () => known && (await anew.file(known)) };
  });
  /** What is said of the layer's contents holds however it is packed. */
  const describe = ({ blob }: KnownLayer, index: number): Descriptor => {
    const { annotations = {} } = image.layers[index]?.descriptor ?? {};
    const ofContents = Object.entries(annotations).filter(([key]) => ABOUT_CONTENTS.has(key));
    return withAnnotations(blob, Object.fromEntries(ofContents));
  };
  const isKept = image.manifest?.descriptor.mediaType === MediaType.manifest && !image.layers.some(packerOf);
  return {
    names: image.names,
    layers,
    open: () => ({
      async write(index, sink) {
        const layer = image.layers[index] as StoredLayer;
        const { known } = layers[index] as OutgoingLayer;
        const file = packer?.foundFile(known);
        const { title, size } = layer.blob;
        observer?.onLayer({ title, size, index, count: layers.length });
        const anew = packerOf(layer);
        if (anew !== undefined && file !== undefined && known !== undefined) return await anew.copy(file, known, sink);
        if (anew !== undefined) {
          const writeTo = async (out: { pass(bytes: Uint8Array): Promise<void> }): Promise<Digest> =>
            (await writeUnpacked(layer, { write: (bytes) => out.pass(bytes) }, { signal })).diffId;
          return await anew.write({ title, writeTo }, sink, known);
        }
        const written = await keeper.write(layer.blob, sink, undefined);
        return (
          known ?? { diffId: layer.diffId, blob: { ...written.blob, mediaType: layerMediaType(layer.compression) } }
        );
      },
      close: async () => undefined,
    }),
    config: () => ({ ...image.config, descriptor: { ...image.config.descriptor, mediaType: MediaType.config } }),
    manifest: (config, known) =>
      isKept && image.manifest !== undefined
        ? image.manifest
        : document(MediaType.manifest, formatManifest(config, known.map(describe), annotationsOf(image))),
  };
}

/** The layer under the image-spec's media type. */
function asStored({ descriptor, diffId, compression }: StoredLayer): KnownLayer | undefined {
  return descriptor && { diffId, blob: { ...descriptor, mediaType: layerMediaType(compression) } };
}

/** Annotations of layers that say nothing of how they are packed. */
const ABOUT_CONTENTS: ReadonlySet<string> = new Set([STORE_DIR_ANNOTATION, STORE_PATHS_ANNOTATION]);

/** What the manifest says of the image besides config and layers. */
function annotationsOf({ manifest }: StoredImage): Json | undefined {
  if (manifest === undefined) return undefined;
  const json = parseJson(Buffer.from(manifest.bytes).toString("utf8"), "manifest");
  return isJsonObject(json) ? json.get("annotations") : undefined;
}
