import { createHash } from "node:crypto";
import type { BlobCache } from "../cache/blob-cache.js";
import type { DigestCache } from "../cache/digest-cache.js";
import { BlockWriter, BULK_BLOCK_SIZE, type WriteProgress } from "../core/block-writer.js";
import { type ByteSink, nullSink, teeSink } from "../core/byte-sink.js";
import { type Compression, type CompressionName, codecOf, createCompressor } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { copyRange, openForReading } from "../core/file-range.js";
import { COMPRESSION_ANNOTATION, layerMediaType } from "../oci/manifest.js";
import type { KnownLayer } from "../transport/deliver.js";

export const UNPACKED: Compression = { name: "none", level: undefined };

export interface PackerOptions {
  readonly cache: DigestCache;
  readonly blobCache?: BlobCache | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: WriteProgress | undefined;
}

/** An unpacked tar that can be written. */
export interface UnpackedTar {
  readonly title: string;
  /** @returns its diffID */
  writeTo(out: BlockWriter): Promise<Digest>;
}

/** Packs layers, or leaves them as they are; what it makes of them is remembered. */
export class Packer {
  readonly #compression: Compression;
  readonly #codec: string | undefined;
  readonly #options: PackerOptions;
  /** Of blobs that were looked for in the blob cache. */
  readonly #files = new Map<Digest, string | undefined>();

  constructor(compression: Compression, options: PackerOptions) {
    this.#compression = compression;
    this.#codec = codecOf(compression);
    this.#options = options;
  }

  get name(): CompressionName {
    return this.#compression.name;
  }

  /** Whether a stored layer is just as this would make it. @param codec what its descriptor says of it */
  made(stored: CompressionName, codec: string | undefined): boolean {
    return stored === this.name && (this.#codec === undefined || codec === this.#codec);
  }

  /** What the packed layer will be, where that is known. @param size of the unpacked tar */
  known({ diffId, size }: { readonly diffId: Digest; readonly size: number }): KnownLayer | undefined {
    if (this.#codec === undefined) return this.#layer(diffId, { digest: diffId, size });
    const packed = this.#options.cache.blob(diffId, this.#codec);
    return packed && this.#layer(diffId, packed);
  }

  /** The file in the blob cache that holds a packed layer, its bytes verified; a damaged one is dropped. */
  async file({ blob }: KnownLayer): Promise<string | undefined> {
    const file = this.#codec === undefined ? undefined : this.#options.blobCache?.find(blob);
    if (file === undefined || this.#files.has(blob.digest)) return this.#files.get(blob.digest);
    const isSound = await this.#isSound(file, blob.digest);
    if (!isSound) this.#options.blobCache?.drop(blob.digest);
    this.#files.set(blob.digest, isSound ? file : undefined);
    return isSound ? file : undefined;
  }

  /** What {@link file} gave, if it was asked. */
  foundFile(known: KnownLayer | undefined): string | undefined {
    return known && this.#files.get(known.blob.digest);
  }

  async #isSound(file: string, digest: Digest): Promise<boolean> {
    try {
      return (await this.#copyFile(file, nullSink)) === digest;
    } catch (error) {
      // Somebody else may have removed it.
      if (error instanceof OciNixError && error.code !== "interrupted") return false;
      throw error;
    }
  }

  /**
   * Writes a layer, packed.
   * @param expected what it must become, if anything is known
   * @throws OciNixError `verification` where it becomes anything else
   */
  async write(tar: UnpackedTar, sink: ByteSink, expected: KnownLayer | undefined): Promise<KnownLayer> {
    const written = this.#codec === undefined ? await this.#plain(tar, sink) : await this.#packed(tar, sink);
    const { digest } = written.blob;
    if (expected === undefined || expected.blob.digest === digest) return written;
    if (this.#codec !== undefined) this.#options.cache.forgetBlob(written.diffId, this.#codec);
    throw new OciNixError(
      "verification",
      `${tar.title} became ${digest} by ${this.#codec ?? "no compression"}, but ${expected.blob.digest} is in the digest cache, which has dropped it now`,
      { hint: "run it again" },
    );
  }

  /**
   * Writes a packed layer that the blob cache has.
   * @throws OciNixError `verification` where the file is damaged; it is then dropped
   */
  async copy(file: string, known: KnownLayer, sink: ByteSink): Promise<KnownLayer> {
    const digest = await this.#copyFile(file, sink);
    if (digest === known.blob.digest) return known;
    this.#options.blobCache?.drop(known.blob.digest);
    throw new OciNixError("verification", `${file} is ${digest}: it is damaged, and removed now`, {
      hint: "run it again",
    });
  }

  async #copyFile(file: string, sink: ByteSink): Promise<Digest> {
    const { fd, size, close } = openForReading(file);
    const out = this.#writer(sink);
    try {
      out.beginDigest();
      await copyRange(fd, { offset: 0, size }, out, file);
      const digest = out.endDigest();
      await out.flush();
      return digest;
    } finally {
      close();
    }
  }

  async #plain(tar: UnpackedTar, sink: ByteSink): Promise<KnownLayer> {
    const out = this.#writer(sink);
    const diffId = await tar.writeTo(out);
    await out.flush();
    return this.#layer(diffId, { digest: diffId, size: out.written });
  }

  async #packed(tar: UnpackedTar, sink: ByteSink): Promise<KnownLayer> {
    const { cache, blobCache, signal } = this.#options;
    const kept = await blobCache?.begin();
    const counted = new CountedHash();
    const compression = this.#compression as Parameters<typeof createCompressor>[0];
    const compressor = createCompressor(compression, teeSink([counted, sink, ...(kept ? [kept] : [])]), { signal });
    try {
      const out = this.#writer(compressor);
      const diffId = await tar.writeTo(out);
      await out.flush();
      await compressor.end();
      const blob = counted.end();
      cache.rememberBlob(diffId, this.#codec as string, blob);
      await kept?.commit(blob);
      return this.#layer(diffId, blob);
    } finally {
      compressor.close();
      await kept?.discard();
    }
  }

  #writer(sink: ByteSink): BlockWriter {
    const { signal, progress } = this.#options;
    return new BlockWriter(sink, {
      blockSize: BULK_BLOCK_SIZE,
      signal,
      ...(progress === undefined ? {} : { progress }),
    });
  }

  #layer(diffId: Digest, { digest, size }: { readonly digest: Digest; readonly size: number }): KnownLayer {
    const mediaType = layerMediaType(this.#compression.name);
    const annotations = this.#codec === undefined ? {} : { annotations: { [COMPRESSION_ANNOTATION]: this.#codec } };
    return { diffId, blob: { mediaType, digest, size, ...annotations } };
  }
}

/** Hashes and counts what passes. */
class CountedHash implements ByteSink {
  readonly #hash = createHash("sha256");
  #size = 0;

  write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#size += bytes.length;
  }

  end(): { readonly digest: Digest; readonly size: number } {
    return { digest: `sha256:${this.#hash.digest("hex")}`, size: this.#size };
  }
}
