import type { ByteSink } from "./byte-sink.js";
import type { CompressorOptions, DecompressorOptions, Filter } from "./compression/filter.js";
import { GzipDecompressor } from "./compression/gunzip.js";
import { GzipCompressor, gzipCodec } from "./compression/gzip.js";
import { ZstdCompressor, ZstdDecompressor, zstdCodec } from "./compression/zstd.js";
import { nearest, OciNixError } from "./errors.js";

export type { Filter } from "./compression/filter.js";

/** How the bytes of a blob are packed. */
export type CompressionName = "none" | "gzip" | "zstd";

/** How to pack: `level` is the codec's own, undefined for `none` only. */
export interface Compression {
  readonly name: CompressionName;
  readonly level: number | undefined;
}

const LEVELS = {
  gzip: { highest: 9, usual: 6 },
  zstd: { highest: 19, usual: 3 },
} as const;
const ALLOWED = "none, gzip[:1-9] or zstd[:1-19]";
/** zstd knows levels up to this one. */
const HIGHEST_OF_ZSTD = 22;

/** `none`, `gzip`, `gzip:9`, `zstd`, `zstd:19`. @throws OciNixError `usage` */
export function parseCompression(text: string, where: string): Compression {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const found = `${where}: ${JSON.stringify(text)}`;
  if (name === "none") {
    if (colon < 0) return { name, level: undefined };
    throw new OciNixError("usage", `${found}: none has no level`, { hint: `${where} takes ${ALLOWED}` });
  }
  if (name !== "gzip" && name !== "zstd") {
    const near = nearest(name, ["none", "gzip", "zstd"]);
    const hint = near === undefined ? `${where} takes ${ALLOWED}` : `did you mean ${near}? ${where} takes ${ALLOWED}`;
    throw new OciNixError("usage", `${found} names no compression`, { hint });
  }
  const { highest, usual } = LEVELS[name];
  if (colon < 0) return { name, level: usual };
  const digits = text.slice(colon + 1);
  const level = /^[1-9][0-9]?$/.test(digits) ? Number(digits) : undefined;
  if (level !== undefined && level <= highest) return { name, level };
  const why =
    name === "zstd" && level !== undefined && level <= HIGHEST_OF_ZSTD
      ? "; those above take up to a gigabyte of memory for each thread, and much of whoever unpacks them"
      : "";
  throw new OciNixError("usage", `${found}: ${name} has levels 1 to ${highest} here${why}`, {
    hint: `${where} takes ${ALLOWED}`,
  });
}

/**
 * Names everything that decides a codec's bytes: its level, the build of its library, how the input is divided. Undefined for `none`.
 * Equal names give equal bytes.
 */
export function codecOf({ name, level }: Compression): string | undefined {
  if (name === "none") return undefined;
  return name === "gzip" ? gzipCodec(level ?? LEVELS.gzip.usual) : zstdCodec(level ?? LEVELS.zstd.usual);
}

/**
 * Packs what is written, over all processors. The bytes are a function of the input and {@link codecOf}, whatever the sizes of the writes,
 * the number of threads and the load. The sink is written to only while a `write` or `end` has not yet returned or resolved.
 */
export function createCompressor(
  { name, level }: Compression & { readonly name: "gzip" | "zstd" },
  sink: ByteSink,
  options: CompressorOptions = {},
): Filter {
  return name === "gzip"
    ? new GzipCompressor(level ?? LEVELS.gzip.usual, sink, options)
    : new ZstdCompressor(level ?? LEVELS.zstd.usual, sink, options);
}

/**
 * Unpacks what is written. Members or frames may follow each other, as both formats allow; nothing else may, unless the options say so.
 * @param title what errors call the input
 */
export function createDecompressor(
  name: "gzip" | "zstd",
  sink: ByteSink,
  title: string,
  options: DecompressorOptions = {},
): Filter {
  return name === "gzip" ? new GzipDecompressor(sink, title, options) : new ZstdDecompressor(sink, title);
}

/**
 * How the bytes are packed that begin with `head`: 512 bytes tell, fewer tell less. `none` where that is not known, and for a tar, whose
 * first name may look packed.
 */
export function sniffCompression(head: Uint8Array): CompressionName | "bzip2" | "xz" {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 512));
  if (bytes.toString("latin1", 257, 262) === "ustar") return "none";
  const start = bytes.toString("hex", 0, 6);
  return MAGIC.find(([magic]) => magic.test(start))?.[1] ?? "none";
}

/** In hexadecimal. A zstd stream may begin with a skippable frame. */
const MAGIC = [
  [/^1f8b/, "gzip"],
  [/^28b52ffd/, "zstd"],
  [/^5[0-9a-f]2a4d18/, "zstd"],
  [/^425a68/, "bzip2"],
  [/^fd377a58/, "xz"],
] as const;
