import type { Digest } from "../core/digest.js";
import { formatGoJson } from "../core/go-json.js";
import { formatJson, formatPythonJson, isJsonObject, type Json, type JsonObject, toJson } from "../core/json.js";
import type { Timestamp } from "../core/timestamp.js";

/** One `history` entry of an image config. */
export interface History {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/** What an image config says of one layer. */
export interface ConfigLayer {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  readonly history: History;
}

/** An image config before its layers are known. */
export interface ImageMetadata {
  readonly architecture: string;
  readonly variant?: string | undefined;
  readonly created: Timestamp;
  readonly author?: string | undefined;
  /** As {@link checkContainerConfig} gives it, or as nixpkgs does. */
  readonly config: JsonObject | null;
}

/** What an image config says of the layers of a base image. */
export interface BaseConfig {
  readonly diffIds: readonly Digest[];
  /** Entries as the base has them. */
  readonly history: readonly Json[];
}

/**
 * The bytes of an OCI image config ("application/vnd.oci.image.config.v1+json"): compact JSON, keys in the image-spec's order.
 * @param layers those on top of the base
 */
export function formatImageConfig(metadata: ImageMetadata, layers: readonly ConfigLayer[], base?: BaseConfig): string {
  const { diffIds = [], history = [] } = base ?? {};
  return formatJson(
    toJson({
      created: metadata.created.text,
      author: metadata.author,
      architecture: metadata.architecture,
      variant: metadata.variant,
      os: "linux",
      config: metadata.config,
      rootfs: { type: "layers", diff_ids: [...diffIds, ...layers.map((layer) => layer.diffId)] },
      history: [...history, ...layers.map((layer) => layer.history)],
    }),
  );
}

/**
 * The bytes of the image config that nix2container's transport makes of its image file.
 * @param image.created as Go prints it; undefined where nobody knows
 * @param image.config as {@link checkGoContainerConfig} gives it
 */
export function formatNix2containerConfig(
  image: { readonly architecture: string; readonly created: string | undefined; readonly config: JsonObject },
  layers: readonly ConfigLayer[],
): string {
  return formatGoJson(
    toJson({
      created: image.created,
      architecture: image.architecture,
      os: "linux",
      config: image.config,
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
      history: layers.length === 0 ? undefined : layers.map((layer) => layer.history),
    }),
  );
}

/** The bytes of the image config that nixpkgs' stream_layered_image.py writes. */
export function formatDockertoolsConfig(
  metadata: ImageMetadata,
  layers: readonly { readonly diffId: Digest; readonly paths: readonly string[] }[],
): string {
  const created = pythonIsoFormat(metadata.created.text);
  return formatPythonJson(
    toJson({
      created,
      architecture: metadata.architecture,
      os: "linux",
      config: metadata.config,
      rootfs: { diff_ids: layers.map((layer) => layer.diffId), type: "layers" },
      history: layers.map((layer) => ({ created, comment: storePathsComment(layer.paths) })),
    }),
  );
}

/** A history comment that says which store paths a layer holds: nixpkgs' own wording, so that one reader understands both. */
export function storePathsComment(paths: readonly string[]): string {
  return `${STORE_PATHS}${paths.map(pythonRepr).join(", ")}]`;
}

/** As {@link storePathsComment}, of a layer that is more or other than these store paths at their own place, as they are. */
export function changedStorePathsComment(paths: readonly string[]): string {
  return `${CHANGED_STORE_PATHS}${paths.map(pythonRepr).join(", ")}]`;
}

const STORE_PATHS = "store paths: [";
const CHANGED_STORE_PATHS = "store paths, moved or changed: [";

/** What a comment says that lists store paths. */
export interface CommentedStorePaths {
  /** The texts of the list. */
  readonly paths: readonly string[];
  /** Whether by {@link changedStorePathsComment}. */
  readonly changed: boolean;
}

/**
 * Reads a comment of {@link storePathsComment} or {@link changedStorePathsComment}; undefined for any other, and for texts that Python
 * escapes, as no store path holds anything that it does.
 */
export function parseStorePathsComment(comment: string): CommentedStorePaths | undefined {
  const start = [STORE_PATHS, CHANGED_STORE_PATHS].find((text) => comment.startsWith(text));
  if (start === undefined || !comment.endsWith("]")) return undefined;
  const changed = start === CHANGED_STORE_PATHS;
  const list = comment.slice(start.length, -1);
  if (list === "") return { paths: [], changed };
  const items = list.split(", ").map((item) => /^'([^'\\]*)'$/.exec(item) ?? /^"([^"\\]*)"$/.exec(item));
  const paths = items.flatMap((item) => item?.[1] ?? []);
  return paths.length === items.length ? { paths, changed } : undefined;
}

/**
 * nixpkgs' config inheritance: only Env, base entries first; a repeated name keeps its first place and takes the last value.
 * `config` is changed in nothing else, its key order included.
 */
export function inheritEnv(base: Json | undefined, config: JsonObject): JsonObject {
  const entries = [...envOf(base), ...envOf(config)];
  if (entries.length === 0) return config;
  const byName = new Map<string, string>();
  for (const entry of entries) byName.set(entry.split("=", 1)[0] as string, entry);
  const merged = new Map(config);
  merged.set("Env", [...byName.values()]);
  return merged;
}

function envOf(config: Json | undefined): readonly string[] {
  const env = isJsonObject(config) ? config.get("Env") : undefined;
  return Array.isArray(env) ? env.filter((entry): entry is string => typeof entry === "string") : [];
}

/** `datetime.isoformat()` of a parsed RFC 3339 text: no `Z`, fractions of six digits or none. */
function pythonIsoFormat(text: string): string {
  const match = /^(.{10})[Tt](.{8})(?:\.(\d+))?(.*)$/.exec(text);
  if (match === null) return text;
  const [, date, time, fraction, zone] = match;
  const micros = (fraction ?? "").slice(0, 6).padEnd(6, "0");
  return `${date}T${time}${micros === "000000" ? "" : `.${micros}`}${/^[Zz]$/.test(zone as string) ? "+00:00" : zone}`;
}

/** Python's `repr` of a string. Which characters are printable depends on the Unicode version in newly assigned ones only. */
function pythonRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let repr = "";
  for (const character of text) {
    if (character === quote || character === "\\") repr += `\\${character}`;
    else if (character === "\n") repr += "\\n";
    else if (character === "\r") repr += "\\r";
    else if (character === "\t") repr += "\\t";
    else if (character === " " || !/[\p{C}\p{Z}]/u.test(character)) repr += character;
    else repr += escapeCodePoint(character.codePointAt(0) as number);
  }
  return `${quote}${repr}${quote}`;
}

function escapeCodePoint(code: number): string {
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
