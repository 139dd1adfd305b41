import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseDigest } from "../core/digest.js";
import { atPlace, OciNixError } from "../core/errors.js";
import { shownJson } from "../core/json.js";
import { DIGESTS_FILE, type DigestDatabase } from "./digest-database.js";
import { type BlobEntry, type LayerEntry, wellFormed } from "./digest-rows.js";
import { named, withDatabase, withUsableDatabase } from "./maintenance.js";

const FORMAT = "oci-nix digests";
const VERSION = 1;

/**
 * The digests of a cache as JSON lines: a heading with counts, layers by key, blobs by diffID and codec. Equal digests give equal text.
 * @throws OciNixError `unreadable`
 */
export function exportCache(directory: string): string {
  const file = join(directory, DIGESTS_FILE);
  const { layers, blobs } = named(directory, () =>
    existsSync(file)
      ? withDatabase(file, (database) =>
          database.snapshot(() => ({ layers: database.layers(), blobs: database.blobs() })),
        )
      : { layers: [], blobs: [] },
  );
  const lines = [
    { format: FORMAT, version: VERSION, layers: layers.length, blobs: blobs.length },
    ...layers.map(({ key, diffId, size, title }) => ({ layer: key, diffId, size, title })),
    ...blobs.map(({ diffId, codec, digest, size }) => ({ blob: diffId, codec, digest, size })),
  ];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** What an import of digests came to. */
export interface ImportSummary {
  /** How many digests were not known before. */
  readonly added: number;
  /** How many were known already. */
  readonly known: number;
}

/**
 * Adds digests that {@link exportCache} gave; all of them or, where an error is thrown, none. They count as used today.
 *
 * @param source what errors call the text
 * @throws OciNixError `invalid-input` with the line; `conflict` where a digest is not what the cache says; `unreadable` and `output` for
 *   the cache
 */
export function importCache(directory: string, text: string, source: string): ImportSummary {
  const { layers, blobs } = parseExport(text, source);
  return named(directory, () =>
    withUsableDatabase(join(directory, DIGESTS_FILE), (database) =>
      database.transaction(() => {
        const newLayers = layers.filter((entry) => isNewLayer(entry, database, source));
        const newBlobs = blobs.filter((entry) => isNewBlob(entry, database, source));
        for (const entry of newLayers) database.putLayer(entry);
        for (const entry of newBlobs) database.putBlob(entry);
        const added = newLayers.length + newBlobs.length;
        return { added, known: layers.length + blobs.length - added };
      }),
    ),
  );
}

function isNewLayer(entry: LayerEntry, database: DigestDatabase, source: string): boolean {
  const known = database.layer(entry.key);
  if (known === undefined) return true;
  if (known.diffId === entry.diffId && known.size === entry.size) return false;
  throw contradiction(
    `${source}: layer ${entry.key} (${JSON.stringify(entry.title)}) has the diffID ${entry.diffId} and ${entry.size} bytes`,
    `${known.diffId} and ${known.size} bytes`,
  );
}

function isNewBlob(entry: BlobEntry, database: DigestDatabase, source: string): boolean {
  const known = database.blob(entry.diffId, entry.codec);
  if (known === undefined) return true;
  if (known.digest === entry.digest && known.size === entry.size) return false;
  throw contradiction(
    `${source}: layer ${entry.diffId} packed by ${JSON.stringify(entry.codec)} has the digest ${entry.digest} and ${entry.size} bytes`,
    `${known.digest} and ${known.size} bytes`,
  );
}

function contradiction(found: string, known: string): OciNixError {
  return new OciNixError("conflict", `${found}, in the cache it has ${known}: nothing was imported`, {
    hint: "one of the two is wrong: trust the file after oci-nix cache prune --all, or the cache without the file",
  });
}

/** @throws OciNixError `invalid-input` */
function parseExport(
  text: string,
  source: string,
): { readonly layers: readonly LayerEntry[]; readonly blobs: readonly BlobEntry[] } {
  const layers = new Map<string, LayerEntry>();
  const blobs = new Map<string, BlobEntry>();
  const [first = "", ...rest] = text.split("\n");
  const counts = atPlace(`${source} line 1`, () => parseHeading(first));
  // The last line ends, too.
  const lines = rest.at(-1) === "" ? rest.slice(0, -1) : rest;
  for (const [index, line] of lines.entries()) {
    atPlace(`${source} line ${index + 2}`, () => {
      const value = parseLine(line);
      if (Object.hasOwn(value, "layer")) {
        const entry = layerOf(value);
        addOnce(layers, entry.key, entry);
      } else if (Object.hasOwn(value, "blob")) {
        const entry = blobOf(value);
        addOnce(blobs, `${entry.diffId} ${entry.codec}`, entry);
      } else throw invalid("neither a layer nor a blob");
    });
  }
  if (layers.size !== counts.layers || blobs.size !== counts.blobs) {
    throw invalid(
      `${source} is not whole: it has ${layers.size} of ${counts.layers} layers and ${blobs.size} of ${counts.blobs} blobs`,
    );
  }
  return { layers: [...layers.values()], blobs: [...blobs.values()] };
}

type Line = Readonly<Record<string, unknown>>;

function parseHeading(line: string): { readonly layers: number; readonly blobs: number } {
  const { format, version, layers, blobs } = parseLine(line);
  if (format !== FORMAT) throw invalid("no digests that oci-nix cache export wrote");
  if (version !== VERSION) {
    throw new OciNixError("invalid-input", `version ${shownJson(version)} of the format, not ${VERSION}`, {
      hint: "export the digests with this version of oci-nix",
    });
  }
  return { layers: sizeOf(layers, "layers"), blobs: sizeOf(blobs, "blobs") };
}

function layerOf(line: Line): LayerEntry {
  const { layer, diffId, size, title } = withKeys(line, ["layer", "diffId", "size", "title"]);
  return {
    key: parseDigest(layer, "layer"),
    diffId: parseDigest(diffId, "diffId"),
    size: sizeOf(size, "size"),
    title: textOf(title, "title"),
  };
}

function blobOf(line: Line): BlobEntry {
  const { blob, codec, digest, size } = withKeys(line, ["blob", "codec", "digest", "size"]);
  return {
    diffId: parseDigest(blob, "blob"),
    codec: textOf(codec, "codec"),
    digest: parseDigest(digest, "digest"),
    size: sizeOf(size, "size"),
  };
}

function parseLine(line: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw invalid(line === "" ? "an empty line" : "not valid JSON");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Line;
  throw invalid("no JSON object");
}

function withKeys(line: Line, keys: readonly string[]): Line {
  const other = Object.keys(line).find((key) => !keys.includes(key));
  if (other !== undefined) throw invalid(`unknown key ${JSON.stringify(other)}`);
  return line;
}

function addOnce<T>(entries: Map<string, T>, key: string, entry: T): void {
  if (entries.has(key)) throw invalid(`${key} a second time`);
  entries.set(key, entry);
}

function sizeOf(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw invalid(`${name} is ${value === undefined ? "missing" : shownJson(value)}, not a whole number`);
}

function textOf(value: unknown, name: string): string {
  // Lone surrogates have no UTF-8.
  if (typeof value === "string" && wellFormed(value) === value) return value;
  throw invalid(`${name} is ${value === undefined ? "missing" : shownJson(value)}, not a text`);
}

function invalid(message: string): OciNixError {
  return new OciNixError("invalid-input", message);
}
