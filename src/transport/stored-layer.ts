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
import type { StoredFiles } from "./stored-files.js";

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

/** What manifest and config say of a layer. */
export interface LayerDescription {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  /** What errors call the place that says it. */
  readonly where: string;
}

/** The layers, none of which has a problem. @throws OciNixError the first one's */
export function soundLayers(layers: readonly StoredLayer[]): readonly StoredLayer[] {
  const problem = layers.find((layer) => layer.problem !== undefined)?.problem;
  if (problem !== undefined) throw problem;
  return layers;
}

/**
 * A layer that a descriptor describes. It may have a problem: `verification` where the file is of another size, packed otherwise than its
 * media type says or not what the config says; `unsupported` for a media type that is no layer's; as `files.open` where it is not there.
 */
export function describedLayer(files: StoredFiles, name: string, layer: LayerDescription): StoredLayer {
  const { descriptor, diffId, where } = layer;
  const title = `${files.title}: ${name}`;
  return openLayer({ title, descriptor, diffId }, () => {
    const declared = describedCompression(descriptor, where);
    const { size, compression } = packingOf(files, name);
    const blob: BlobSource = {
      title,
      size,
      ...fileOf(files, name),
      async writeTo(out) {
        const digest = await copyFile(files, name, size, out);
        if (digest === descriptor.digest) return digest;
        throw new OciNixError("verification", `${title} is ${digest}, but the manifest says ${descriptor.digest}`, {
          hint: DAMAGED,
        });
      },
    };
    const problem =
      sizeProblem(size, descriptor, title) ??
      packingProblem(compression, declared, title) ??
      plainLayerProblem(declared, layer);
    return { blob, compression, descriptor, diffId, ...(problem && { problem }) };
  });
}

/** A layer, or one of which nothing can be read, and the problem is why. */
export function openLayer(
  known: { readonly title: string; readonly descriptor: Descriptor | undefined; readonly diffId: Digest },
  open: () => StoredLayer,
): StoredLayer {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    const { title, descriptor, diffId } = known;
    const blob: BlobSource = { title, size: descriptor?.size ?? 0, writeTo: () => Promise.reject(error) };
    return { blob, compression: "none", descriptor, diffId, problem: error };
  }
}

/** How a described layer is packed. @throws OciNixError `unsupported` for a media type that is no layer's */
export function describedCompression({ mediaType }: Descriptor, where: string): CompressionName {
  const compression = compressionOfMediaType(mediaType);
  if (compression !== undefined) return compression;
  throw new OciNixError("unsupported", `${where}: layers of the type ${mediaType} are not read`, {
    hint: "plain, gzip and zstd layers are",
  });
}

function sizeProblem(size: number, descriptor: Descriptor, title: string): OciNixError | undefined {
  if (size === descriptor.size) return undefined;
  const message = `${title} is ${size} bytes long, its descriptor says ${descriptor.size}`;
  return new OciNixError("verification", message, { hint: DAMAGED });
}

function packingProblem(found: CompressionName, declared: CompressionName, title: string): OciNixError | undefined {
  if (found === declared) return undefined;
  return new OciNixError("verification", `${title} is packed by ${found}, its media type says ${declared}`, {
    hint: "the program that wrote the image is wrong about it; skopeo copy can write it anew",
  });
}

/** That manifest and config do not say the same of a layer that is not packed. */
export function plainLayerProblem(
  compression: CompressionName,
  { descriptor, diffId, where }: LayerDescription,
): OciNixError | undefined {
  if (compression !== "none" || descriptor.digest === diffId) return undefined;
  const message = `${where}: an unpacked layer is ${descriptor.digest}, the image config says ${diffId}`;
  return new OciNixError("verification", message, { hint: DAMAGED });
}

/**
 * A layer of which only the diffID is known. A packed one is unpacked on the side when it is written, to see that it is right. It has a
 * problem where it is not there.
 */
export function undescribedLayer(files: StoredFiles, name: string, diffId: Digest): StoredLayer {
  const title = `${files.title}: ${name}`;
  return openLayer({ title, descriptor: undefined, diffId }, () => {
    const { size, compression } = packingOf(files, name);
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
  });
}

/** The diffID of a layer that nobody recorded it for, by reading it. @throws OciNixError as {@link writeUnpacked} */
export async function measureLayer(files: StoredFiles, name: string, signal?: AbortSignal): Promise<UnpackedLayer> {
  const title = `${files.title}: ${name}`;
  const { compression, size } = packingOf(files, name);
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
  const copy = (out: BlockWriter) => copyStored(layer, out);
  const { unpacked } = await unpack(compression, sink, blob.title, copy, options.signal);
  sameDiffId(unpacked.diffId, diffId, blob.title);
  return unpacked;
}

/** Writes a layer's stored bytes for who unpacks them: as `blob.writeTo`, but that they are not unpacked to see whether they are right. */
export async function copyStored({ blob }: StoredLayer, out: BlockWriter): Promise<Digest> {
  return isUndescribed(blob) ? await blob.copyTo(out) : await blob.writeTo(out);
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

function fileOf(files: StoredFiles, name: string): { readonly file?: string } {
  const path = files.pathOf(name);
  return path === undefined ? {} : { file: path };
}

/** How many first bytes of a file tell how it is packed. */
const HEAD = 512;

/** A layer's size, and how it is packed. Other packers' layers count as plain, and are then no tar. */
function packingOf(files: StoredFiles, name: string): { readonly size: number; readonly compression: CompressionName } {
  const file = files.open(name);
  try {
    const head = { offset: file.offset, size: Math.min(HEAD, file.size) };
    const found = sniffCompression(readRange(file.fd, head, `${files.title}: ${name}`));
    return { size: file.size, compression: found === "gzip" || found === "zstd" ? found : "none" };
  } finally {
    file.close();
  }
}
