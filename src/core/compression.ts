import type { ByteSink } from "./byte-sink.js";
import { OciNixError } from "./errors.js";

/** How the bytes of a blob are packed. */
export type CompressionName = "none" | "gzip" | "zstd";

/** How to pack: `level` is the codec's own, undefined for `none` only. */
export interface Compression {
  readonly name: CompressionName;
  readonly level: number | undefined;
}

/** Packs a stream, or unpacks one: takes bytes as a sink does, and gives the others to the sink it was made with. */
export interface Filter extends ByteSink {
  /** To be called once, when all is written. @throws OciNixError of the sink; `invalid-input` where what is unpacked is damaged or cut off */
  end(): Promise<void>;
  /** Gives back threads and memory, at any time. */
  close(): void;
}

/** `none`, `gzip`, `gzip:9`, `zstd`, `zstd:19`. @throws OciNixError `usage` */
export function parseCompression(text: string, where: string): Compression {
  throw new OciNixError("unsupported", `${where}: ${text}`);
}

/**
 * Names everything that decides a codec's bytes: its level, the build of its library, how the input is divided. Undefined for `none`.
 * Equal names give equal bytes.
 */
export function codecOf(_compression: Compression): string | undefined {
  return undefined;
}

/**
 * Packs what is written, over all processors. The bytes are a function of the input and {@link codecOf}, whatever the sizes of the writes,
 * the number of threads and the load.
 */
export function createCompressor(
  _compression: Compression & { readonly name: "gzip" | "zstd" },
  _sink: ByteSink,
  _options: { readonly signal?: AbortSignal | undefined; readonly threads?: number | undefined } = {},
): Filter {
  throw new OciNixError("unsupported", "compression");
}

/** Unpacks what is written. Members or frames may follow each other, as both formats allow. @param title what errors call the input */
export function createDecompressor(_name: "gzip" | "zstd", _sink: ByteSink, _title: string): Filter {
  throw new OciNixError("unsupported", "compression");
}
