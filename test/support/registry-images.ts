import { createHash } from "node:crypto";
import { BlockWriter } from "../../src/core/block-writer.js";
import type { ByteSink } from "../../src/core/byte-sink.js";
import { sha256 } from "../../src/core/digest.js";
import { formatManifest, MediaType } from "../../src/oci/manifest.js";
import type { KnownLayer, OutgoingImage } from "../../src/transport/deliver.js";
import type { Document, StoredImage } from "../../src/transport/image.js";

/** A layer of an image that is pushed. */
export interface PushedLayer {
  readonly bytes: Buffer;
  /** Whether its digest is known before its bytes are made. */
  readonly known?: boolean;
  /** A file that holds the bytes. */
  readonly file?: string;
}

/** Bytes that look like nothing, always the same for a seed. */
export function noise(size: number, seed: string): Buffer {
  const block = createHash("sha512").update(seed).digest();
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4096) {
    block.writeUInt32LE(at >>> 0, 0);
    bytes.fill(block, at, Math.min(at + 4096, size));
  }
  return bytes;
}

export function knownLayerOf(bytes: Buffer): KnownLayer {
  const digest = sha256(bytes);
  return { diffId: digest, blob: { mediaType: MediaType.layer, digest, size: bytes.length } };
}

/** An image of these layers, which notes whose bytes were made. */
export function pushedImage(
  layers: readonly PushedLayer[],
  platform: { readonly os: string; readonly architecture: string } = { os: "linux", architecture: "amd64" },
): OutgoingImage & { readonly made: number[] } {
  const known = layers.map(({ bytes }) => knownLayerOf(bytes));
  const made: number[] = [];
  return {
    made,
    names: [],
    layers: layers.map((layer, i) => ({
      compression: "none",
      known: layer.known === true || layer.file !== undefined ? known[i] : undefined,
      file: async () => layer.file,
    })),
    open: () => ({
      async write(index, sink) {
        made.push(index);
        const { bytes } = layers[index] as PushedLayer;
        for (let at = 0; at < bytes.length; at += 1 << 18) await sink.write(bytes.subarray(at, at + (1 << 18)));
        return known[index] as KnownLayer;
      },
      close: async () => undefined,
    }),
    config: () =>
      documentOf(
        MediaType.config,
        JSON.stringify({ ...platform, rootfs: { type: "layers", diff_ids: known.map(({ diffId }) => diffId) } }),
      ),
    manifest: (config) =>
      documentOf(
        MediaType.manifest,
        formatManifest(
          config,
          known.map(({ blob }) => blob),
        ),
      ),
  };
}

export function documentOf(mediaType: string, text: string): Document {
  const bytes = Buffer.from(text);
  return { bytes, descriptor: { mediaType, digest: sha256(bytes), size: bytes.length } };
}

/** The bytes of an image's layers. */
export async function layersOfStored({ layers }: StoredImage): Promise<readonly Buffer[]> {
  const read: Buffer[] = [];
  for (const { blob } of layers) {
    const pieces: Buffer[] = [];
    const sink: ByteSink = { write: (bytes) => void pieces.push(Buffer.from(bytes)) };
    const out = new BlockWriter(sink);
    await blob.writeTo(out);
    await out.flush();
    read.push(Buffer.concat(pieces));
  }
  return read;
}
