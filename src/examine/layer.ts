import { createHash, type Hash } from "node:crypto";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import type { ByteSink } from "../core/byte-sink.js";
import { type CompressionName, createDecompressor, type Filter, sniffCompression } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { type TarEnd, TarEntries, type TarVisitor } from "../tar/entries.js";
import type { StoredLayer } from "../transport/image.js";
import { copyStored } from "../transport/stored-layer.js";

/** What reading a layer to its end showed. */
export interface LayerReading {
  /** What its first bytes say; undefined where there are none. */
  readonly sniffed: CompressionName | undefined;
  /** Of the stored bytes. */
  readonly size: number;
  /** Of the stored bytes; undefined where there is a {@link blobError}. */
  readonly digest: Digest | undefined;
  /** Of the unpacked bytes; meaningless where there is {@link damage}. */
  readonly diffId: Digest;
  readonly unpackedSize: number;
  readonly end: TarEnd | undefined;
  /** Why the stored bytes are not those that were recorded, or are not there. */
  readonly blobError: OciNixError | undefined;
  /** Why the bytes cannot be unpacked, or are no tar. */
  readonly damage: OciNixError | undefined;
}

/** A layer may unpack to that many bytes, or to that many times its stored size, whatever is more. */
const MAX_UNPACKED = 1 << 30;
const MAX_RATIO = 200;

/** Bytes that a layer may unpack to. @param expectedSize so many in any case */
export function unpackedLimit(layer: StoredLayer, expectedSize = 0): number {
  return Math.max(MAX_UNPACKED, MAX_RATIO * layer.blob.size, expectedSize);
}

/** Entries that a layer may have of which every one is kept, with its name and attributes. */
export const MAX_ENTRIES = 2_000_000;

/** Also counts and hashes unpacked bytes; what follows damage is not looked at, so that the stored bytes can still be verified. */
class UnpackedSink implements ByteSink {
  readonly hash: Hash = createHash("sha256");
  size = 0;
  /** Why it takes no more. */
  refusal: OciNixError | undefined;
  readonly #entries: TarEntries;
  readonly #limit: number;
  readonly #title: string;

  constructor(entries: TarEntries, limit: number, title: string) {
    this.#entries = entries;
    this.#limit = limit;
    this.#title = title;
  }

  write(bytes: Uint8Array): void {
    this.size += bytes.length;
    this.#noteRefusal(() => {
      if (this.size > this.#limit) {
        throw new OciNixError(
          "limit",
          `${this.#title} unpacks to more than ${MAX_RATIO} times its size, and is not read further`,
        );
      }
      this.hash.update(bytes);
      this.#entries.write(bytes);
    });
  }

  end(): TarEnd {
    return this.#noteRefusal(() => this.#entries.end());
  }

  #noteRefusal<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof OciNixError) this.refusal = error;
      throw error;
    }
  }
}

/**
 * Reads a layer once: its stored bytes, its unpacked bytes and its entries. What is wrong with the bytes is part of the result, not an
 * error, as whoever examines an image wants to know it all.
 * @param expectedSize bytes that it may unpack to in any case
 */
export async function readLayer(
  layer: StoredLayer,
  visitor: TarVisitor,
  title: string,
  signal?: AbortSignal,
  expectedSize = 0,
): Promise<LayerReading> {
  const entries = new TarEntries(visitor, title);
  const sink = new UnpackedSink(entries, unpackedLimit(layer, expectedSize), title);
  const packed = new PackedSink(sink, title);
  const out = new BlockWriter(packed, { blockSize: BULK_BLOCK_SIZE, signal });
  let digest: Digest | undefined;
  let blobError: OciNixError | undefined;
  try {
    try {
      digest = await copyStored(layer, out);
      await out.flush();
    } catch (error) {
      if (!(error instanceof OciNixError) || error.code === "interrupted") throw error;
      blobError = error;
      // All bytes came, only not those that were recorded.
      if (error.code === "verification") await out.flush();
    }
    const end = await packed.end();
    return {
      sniffed: packed.sniffed,
      size: out.written,
      digest,
      diffId: `sha256:${sink.hash.digest("hex")}`,
      unpackedSize: sink.size,
      end,
      blobError,
      damage: packed.damage,
    };
  } finally {
    packed.close();
  }
}

/**
 * Reads a layer once, for its entries.
 * @throws OciNixError `verification` where the layer is not what was recorded, or cannot be unpacked; `invalid-input` where it is no tar;
 *   `limit`
 */
export async function readSoundLayer(
  layer: StoredLayer,
  visitor: TarVisitor,
  title: string,
  signal?: AbortSignal,
): Promise<void> {
  const { blobError, damage, diffId } = await readLayer(layer, visitor, title, signal);
  if (blobError !== undefined) throw blobError;
  if (damage !== undefined) throw damage;
  if (diffId === layer.diffId) return;
  throw new OciNixError("verification", `${title} is ${diffId}, but the image config says ${layer.diffId}`);
}

/** The error for a layer that cannot be applied to the layers below it. */
export function invalidImage(message: string): OciNixError {
  return new OciNixError("invalid-input", message, { hint: "oci-nix validate says more about the image" });
}

/** Takes stored bytes and unpacks them as their first bytes want it. */
class PackedSink implements ByteSink {
  sniffed: CompressionName | undefined;
  damage: OciNixError | undefined;
  readonly #sink: UnpackedSink;
  readonly #title: string;
  #filter: Filter | undefined;

  constructor(sink: UnpackedSink, title: string) {
    this.#sink = sink;
    this.#title = title;
  }

  write(bytes: Uint8Array): void | Promise<void> {
    if (this.damage !== undefined || bytes.length === 0) return undefined;
    try {
      if (this.sniffed === undefined) {
        const found = sniffCompression(bytes);
        this.sniffed = found === "gzip" || found === "zstd" ? found : "none";
        if (this.sniffed !== "none") this.#filter = createDecompressor(this.sniffed, this.#sink, this.#title);
      }
      const waiting = (this.#filter ?? this.#sink).write(bytes);
      return waiting === undefined ? undefined : waiting.catch((error: unknown) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  async end(): Promise<TarEnd | undefined> {
    if (this.damage !== undefined) return undefined;
    try {
      await this.#filter?.end();
      return this.#sink.end();
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  close(): void {
    this.#filter?.close();
  }

  #failed(error: unknown): void {
    if (!(error instanceof OciNixError) || error.code === "interrupted") throw error;
    // What is packed wrongly is damaged, whatever digest was recorded: there are checksums in it.
    const isDamaged = error !== this.#sink.refusal && error.code === "invalid-input";
    this.damage = isDamaged ? new OciNixError("verification", error.message, { cause: error }) : error;
  }
}
