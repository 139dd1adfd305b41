import { sha256 } from "../../src/core/digest.js";
import { formatManifest, MediaType } from "../../src/oci/manifest.js";
import { deliver, type KnownLayer, type OutgoingImage } from "../../src/transport/deliver.js";
import type { Document, ImageTarget } from "../../src/transport/image.js";

function documentOf(mediaType: string, text: string): Document {
  const bytes = Buffer.from(text);
  return { bytes, descriptor: { mediaType, digest: sha256(bytes), size: bytes.length } };
}

/** What a layer of this text is. */
export function layerOf(text: string): KnownLayer {
  const digest = sha256(text);
  return { diffId: digest, blob: { mediaType: MediaType.layer, digest, size: Buffer.byteLength(text) } };
}

/** A small image that counts which layers' bytes were asked for. */
export interface SmallImage extends OutgoingImage {
  readonly made: string[];
}

/**
 * An image whose layers hold just these texts.
 * @param options.known whether the layers are known before they are made
 * @param options.failing the text of a layer that cannot be made
 */
export function imageOf(
  texts: readonly string[],
  options: { readonly known?: boolean; readonly names?: readonly string[]; readonly failing?: string } = {},
): SmallImage {
  const made: string[] = [];
  return {
    made,
    names: options.names ?? [],
    layers: texts.map((text) => ({
      compression: "none",
      known: options.known === true ? layerOf(text) : undefined,
    })),
    open: () => ({
      async write(index, sink) {
        const text = texts[index] as string;
        if (text === options.failing) throw new Error("a file changed");
        made.push(text);
        await sink.write(Buffer.from(text));
        return layerOf(text);
      },
      close: async () => undefined,
    }),
    config: (layers) =>
      documentOf(
        MediaType.config,
        JSON.stringify({
          architecture: "amd64",
          os: "linux",
          rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
        }),
      ),
    manifest: (config, layers) =>
      documentOf(
        MediaType.manifest,
        formatManifest(
          config,
          layers.map(({ blob }) => blob),
        ),
      ),
  };
}

/** Brings images to targets, which are closed afterwards. */
export async function deliverAll(images: readonly OutgoingImage[], targets: readonly ImageTarget[]) {
  try {
    return await deliver(images, targets);
  } finally {
    for (const target of targets) await target.close();
  }
}
