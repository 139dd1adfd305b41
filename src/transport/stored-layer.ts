import { createHash } from "node:crypto";
import type { BlobSource } from "../core/blob.js";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { type ByteSink, nullSink } from "../core/byte-sink.js";
import { type CompressionName, createDecompressor, sniffCompression } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { copyRange, readRange } from "../core/file-range.js";
import { compressionOfMediaType, type Descriptor, MediaType } from "../oci/manifest.js";
import type { StoredLayer } from "./image.js";
import type { OpenedFile, StoredFiles } from "./stored-files.js";

/** What a layer turned out to be. */
export interface UnpackedLayer {
  /** SHA-256 of the unpacked tar. */
  readonly diffId: Digest;
  /** Bytes of the unpacked tar. */
  readonly size: number;
}

/** Bytes whose digest nobody recorded, and which can be copied without unpacking them to see whether they are right. */
interface UndescribedBlob extends BlobSource {
  copyTo(out: BlockWriter): Promise<Digest>;
}

const DAMAGED = "the image is damaged: write or fetch it again";

/**
 * A layer that a descriptor describes.
 * @throws OciNixError `verification` where the file is of another size; `invalid-input` where it is packed otherwise than its media type
 *   says; `unsupported` for a media type that is no layer's
 */
export function describedLayer(
  files: StoredFiles,
  name: string,
  layer: { readonly descriptor: Descriptor; readonly diffId: Digest; readonly where: string },
): StoredLayer {
  const { descriptor, diffId, where } = layer;
  const title = `${files.title}: ${name}`;
  const compression = describedCompression(descriptor, where);
  const found = withFile(files, name, (file) => {
    if (file.size !== descriptor.size) {
      throw new OciNixError(
        "verification",
        `${title} is ${file.size} bytes long, its descriptor says ${descriptor.size}`,
        {
          hint: DAMAGED,
        },
      );
    }
    return compressionOf(file, title);
  });
  if (found !== compression) {
    throw new OciNixError("invalid-input", `${title} is packed by ${found}, its media type says ${compression}`, {
      hint: "the program that wrote the image is wrong about it; skopeo copy can write it anew",
    });
  }
  checkPlainLayer(compression, layer);
  const path = files.pathOf(name);
  const blob: BlobSource = {
    title,
    size: descriptor.size,
    ...(path === undefined ? {} : { file: path }),
    async writeTo(out) {
      const digest = await copyFile(files, name, descriptor.size, out);
      if (digest === descriptor.digest) return digest;
      throw new OciNixError("verification", `${title} is ${digest}, but the manifest says ${descriptor.digest}`, {
        hint: DAMAGED,
      });
    },
  };
  return { blob, compression, descriptor, diffId };
}

/** How a described layer is packed. @throws OciNixError `unsupported` for a media type that is no layer's */
export function describedCompression({ mediaType }: Descriptor, where: string): CompressionName {
  const compression = compressionOfMediaType(mediaType);
  if (compression !== undefined) return compression;
  throw new OciNixError("unsupported", `${where}: layers of the type ${mediaType} are not read`, {
    hint: "plain, gzip and zstd layers are",
  });
}

/** Manifest and config say the same of a layer that is not packed. @throws OciNixError `verification` where they do not */
export function checkPlainLayer(
  compression: CompressionName,
  { descriptor, diffId, where }: { readonly descriptor: Descriptor; readonly diffId: Digest; readonly where: string },
): void {
  if (compression !== "none" || descriptor.digest === diffId) return;
  throw new OciNixError(
    "verification",
    `${where}: an unpacked layer is ${descriptor.digest}, the image config says ${diffId}`,
    { hint: DAMAGED },
  );
}

/** A layer of which only the diffID is known. A packed one is unpacked on the side when it is written, to see that it is right. */
export function undescribedLayer(files: StoredFiles, name: string, diffId: Digest): StoredLayer {
  const title = `${files.title}: ${name}`;
  const { size, compression } = withFile(files, name, (file) => ({
    size: file.size,
    compression: compressionOf(file, title),
  }));
  const base = { title, size };
  if (compression === "none") {
    const blob: BlobSource = {
      ...base,
      async writeTo(out) {
        return sameDiffId(await copyFile(files, name, size, out), diffId, title);
      },
    };
    return { blob, compression, descriptor: { mediaType: MediaType.layer, digest: diffId, size }, diffId };
  }
  const blob: UndescribedBlob = {
    ...base,
    copyTo: (out) => copyFile(files, name, size, out),
    async writeTo(out) {
      const { digest, unpacked } = await withUnpacker(compression, nullSink, title, async (unpacker) =>
        copyFile(files, name, size, out, (piece) => unpacker.write(piece)),
      );
      sameDiffId(unpacked.diffId, diffId, title);
      return digest;
    },
  };
  return { blob, compression, descriptor: undefined, diffId };
}

/** The diffID of a layer that nobody recorded it for, by reading it. @throws OciNixError as {@link writeUnpacked} */
export async function measureLayer(files: StoredFiles, name: string, signal?: AbortSignal): Promise<UnpackedLayer> {
  const title = `${files.title}: ${name}`;
  const { compression, size } = withFile(files, name, (file) => ({
    compression: compressionOf(file, title),
    size: file.size,
  }));
  const copy = (out: BlockWriter) => copyFile(files, name, size, out);
  return (await unpack(compression, nullSink, title, copy, signal)).unpacked;
}

/**
 * Writes a layer's unpacked tar, and sees that its bytes are what manifest and config say.
 * @throws OciNixError `verification` where they are not, or cannot be unpacked; what the sink throws; the signal's reason
 */
export async function writeUnpacked(
  layer: StoredLayer,
  sink: ByteSink,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<UnpackedLayer> {
  const { blob, compression, diffId } = layer;
  const copy = (out: BlockWriter) => (isUndescribed(blob) ? blob.copyTo(out) : blob.writeTo(out));
  const { unpacked } = await unpack(compression, sink, blob.title, copy, options.signal);
  sameDiffId(unpacked.diffId, diffId, blob.title);
  return unpacked;
}

function isUndescribed(blob: BlobSource): blob is UndescribedBlob {
  return "copyTo" in blob;
}

async function unpack(
  compression: CompressionName,
  sink: ByteSink,
  title: string,
  copy: (out: BlockWriter) => Promise<Digest>,
  signal: AbortSignal | undefined,
): Promise<{ readonly digest: Digest; readonly unpacked: UnpackedLayer }> {
  return await withUnpacker(compression, sink, title, async (unpacker) => {
    const out = new BlockWriter(unpacker, { blockSize: BULK_BLOCK_SIZE, signal });
    const digest = await copy(out);
    await out.flush();
    return digest;
  });
}

/** Runs something that writes packed bytes, whose unpacked ones go to a sink. */
async function withUnpacker(
  compression: CompressionName,
  sink: ByteSink,
  title: string,
  run: (unpacker: ByteSink) => Promise<Digest>,
): Promise<{ readonly digest: Digest; readonly unpacked: UnpackedLayer }> {
  const hash = createHash("sha256");
  let size = 0;
  const counted: ByteSink = {
    write(bytes, whileFull) {
      hash.update(bytes);
      size += bytes.length;
      return sink.write(bytes, whileFull);
    },
  };
  const unpacked = (digest: Digest) => ({
    digest,
    unpacked: { diffId: `sha256:${hash.digest("hex")}` as Digest, size },
  });
  if (compression === "none") return unpacked(await run(counted));
  const filter = createDecompressor(compression, counted, title);
  try {
    const digest = await run(filter);
    await filter.end();
    return unpacked(digest);
  } catch (error) {
    // Damage of what is packed: nothing else here calls an input invalid.
    if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
    throw new OciNixError("verification", error.message, { hint: error.hint ?? DAMAGED, cause: error });
  } finally {
    filter.close();
  }
}

async function copyFile(
  files: StoredFiles,
  name: string,
  size: number,
  out: BlockWriter,
  inspect?: (piece: Uint8Array) => void | Promise<void>,
): Promise<Digest> {
  const title = `${files.title}: ${name}`;
  const file = files.open(name);
  try {
    out.beginDigest();
    await copyRange(file.fd, { offset: file.offset, size }, out, title, inspect);
    return out.endDigest();
  } finally {
    file.close();
  }
}

function sameDiffId(actual: Digest, diffId: Digest, title: string): Digest {
  if (actual === diffId) return actual;
  throw new OciNixError("verification", `${title} is ${actual}, but the image config says ${diffId}`, {
    hint: DAMAGED,
  });
}

function withFile<T>(files: StoredFiles, name: string, look: (file: OpenedFile) => T): T {
  const file = files.open(name);
  try {
    return look(file);
  } finally {
    file.close();
  }
}

/** How many first bytes of a file tell how it is packed. */
const HEAD = 512;

/** How a layer is packed. Other packers' layers count as plain, and are then no tar. */
function compressionOf(file: OpenedFile, title: string): CompressionName {
  const found = sniffCompression(readRange(file.fd, { offset: file.offset, size: Math.min(HEAD, file.size) }, title));
  return found === "gzip" || found === "zstd" ? found : "none";
}
