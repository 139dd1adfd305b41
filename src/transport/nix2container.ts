import { type Digest, parseDigest } from "../core/digest.js";
import { nearest, OciNixError } from "../core/errors.js";
import { formatGoJson } from "../core/go-json.js";
import { isJsonObject, type Json, JsonNumber, type JsonObject, toJson, wrong } from "../core/json.js";
import { goTimestamp } from "../core/timestamp.js";
import { checkGoContainerConfig } from "../oci/container-config.js";
import type { History } from "../oci/image.js";
import { MediaType } from "../oci/manifest.js";

/** Which of a store path's files go elsewhere: all matches of an RE2 regex in their path are replaced. An empty regex moves nothing. */
export interface Nix2containerRewrite {
  readonly regex: string;
  readonly repl: string;
}

/** Owner and mode of a store path's files whose path the RE2 regex matches. Empty texts change nothing. */
export interface Nix2containerPerm {
  readonly regex: string;
  /** Octal digits. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly uname: string;
  readonly gname: string;
}

/** A store path in a layer. */
export interface Nix2containerPath {
  readonly path: string;
  readonly options?: { readonly rewrite: Nix2containerRewrite; readonly perms: readonly Nix2containerPerm[] };
}

/** A layer as nix2container's files describe it: how to make it from the store, or where its bytes are, and what they must be. */
export interface Nix2containerLayer {
  /** Of the bytes as they are kept: of the compressed ones where the media type says so. */
  readonly digest: Digest;
  /** Bytes that {@link digest} is of; 0 where nobody counted them, as in pulled images. */
  readonly size: number;
  readonly diffId: Digest;
  readonly paths: readonly Nix2containerPath[];
  readonly mediaType: string;
  /** The file that holds the layer. */
  readonly layerPath?: string;
  readonly history: History;
}

/** What nix2container's image.json says. */
export interface Nix2containerImage {
  /** The container's config as Go programs write it: known fields only, in their order, empty ones left out. */
  readonly config: JsonObject;
  readonly layers: readonly Nix2containerLayer[];
  readonly architecture: string;
  /** As Go prints times. */
  readonly created?: string;
}

export const LAYER_MEDIA_TYPE = MediaType.layer;

const VERSION = 1;

/** Whether JSON has the shape of nix2container's image file. */
export function isNix2containerImage(json: Json): json is JsonObject {
  return isJsonObject(json) && json.has("image-config");
}

/**
 * Reads an image file. Keys match whatever their case, as in Go; null is the same as absence.
 * @throws OciNixError `invalid-input` naming the field that is missing, unknown or wrong; `unsupported` for another version
 */
export function parseNix2containerImage(json: Json, source: string): Nix2containerImage {
  const field = membersOf(json, source, ["version", "image-config", "layers", "arch", "created"]);
  const version = field("version");
  if (!(version instanceof JsonNumber) || version.text !== String(VERSION)) {
    const found = version instanceof JsonNumber ? version.text : "none";
    throw new OciNixError("unsupported", `${source}: version ${found} of nix2container's image file is not known`, {
      hint: `version ${VERSION} is`,
    });
  }
  const created = optionalText(field("created"), `${source}: created`);
  return {
    config: checkGoContainerConfig(field("image-config") ?? new Map(), `${source}: image-config`),
    layers: parseLayersAt(field("layers") ?? null, `${source}: layers`),
    architecture: optionalText(field("arch"), `${source}: arch`) ?? "",
    ...(created !== undefined && { created: goTimestamp(created, `${source}: created`) }),
  };
}

/** An image file, byte for byte as nix2container writes it. */
export function formatNix2containerImage({ config, layers, architecture, created }: Nix2containerImage): string {
  const image = {
    version: VERSION,
    "image-config": config,
    layers: layersJson(layers),
    arch: architecture,
    created: created ?? null,
  };
  return formatGoJson(toJson(image), "\t");
}

/** Reads a layers file. @throws OciNixError as {@link parseNix2containerImage} */
export function parseNix2containerLayers(json: Json, source: string): readonly Nix2containerLayer[] {
  return parseLayersAt(json, `${source}: layers`);
}

/** A layers file, byte for byte as nix2container writes it. */
export function formatNix2containerLayers(layers: readonly Nix2containerLayer[]): string {
  return formatGoJson(layersJson(layers), "\t");
}

/** Reads the rewrites of store paths: `[{path, regex, repl}]`. @throws OciNixError as {@link parseNix2containerImage} */
export function parseRewrites(
  json: Json,
  source: string,
): readonly (Nix2containerRewrite & { readonly path: string })[] {
  return listAt(json, source).map((item, i) => {
    const where = `${source}[${i}]`;
    const field = membersOf(item, where, ["path", ...REWRITE]);
    return { path: text(field("path"), `${where}.path`), ...rewriteOf(field, where) };
  });
}

/** Reads permission rules: `[{path, regex, mode, uid, gid, uname, gname}]`. @throws OciNixError as {@link parseNix2containerImage} */
export function parsePerms(json: Json, source: string): readonly (Nix2containerPerm & { readonly path: string })[] {
  return listAt(json, source).map((item, i) => {
    const where = `${source}[${i}]`;
    const field = membersOf(item, where, ["path", ...PERM]);
    return { path: text(field("path"), `${where}.path`), ...permOf(field, where) };
  });
}

/** Reads a layer's history entry. @throws OciNixError as {@link parseNix2containerImage} */
export function parseHistory(json: Json, where: string): History {
  const field = membersOf(json, where, ["created", "created_by", "author", "comment", "empty_layer"]);
  const [created, createdBy, author, comment] = ["created", "created_by", "author", "comment"].map((name) =>
    optionalText(field(name), `${where}.${name}`),
  );
  const emptyLayer = field("empty_layer") ?? false;
  if (typeof emptyLayer !== "boolean") throw wrong(`${where}.empty_layer`, "true or false", emptyLayer);
  return {
    ...(created && { created: goTimestamp(created, `${where}.created`) }),
    ...(createdBy && { created_by: createdBy }),
    ...(author && { author }),
    ...(comment && { comment }),
    ...(emptyLayer && { empty_layer: true }),
  };
}

function layersJson(layers: readonly Nix2containerLayer[]): Json {
  if (layers.length === 0) return null;
  return layers.map(({ digest, size, diffId, paths, mediaType, layerPath, history }) =>
    toJson({
      digest,
      size,
      diff_ids: diffId,
      paths: paths.length === 0 ? undefined : paths.map(pathJson),
      mediatype: mediaType,
      "layer-path": layerPath,
      History: history,
    }),
  );
}

function pathJson({ path, options }: Nix2containerPath): Json {
  if (options === undefined) return toJson({ path });
  const { regex, repl } = options.rewrite;
  const perms = options.perms.map((perm) => Object.fromEntries(PERM.map((name) => [name, perm[name]])));
  return toJson({ path, options: { rewrite: { regex, repl }, perms: perms.length === 0 ? undefined : perms } });
}

/** Equal for the same store path with the same options, and for nothing else. */
export function pathKey(path: Nix2containerPath): string {
  return formatGoJson(pathJson(path));
}

function parseLayersAt(json: Json, where: string): readonly Nix2containerLayer[] {
  return listAt(json, where).map((item, i) => parseLayer(item, `${where}[${i}]`));
}

function parseLayer(json: Json, where: string): Nix2containerLayer {
  const names = ["digest", "size", "diff_ids", "paths", "mediatype", "layer-path", "History"];
  const field = membersOf(json, where, names);
  const layerPath = optionalText(field("layer-path"), `${where}.layer-path`);
  return {
    digest: parseDigest(field("digest"), `${where}.digest`),
    size: wholeNumber(field("size"), `${where}.size`),
    diffId: parseDigest(field("diff_ids"), `${where}.diff_ids`),
    paths: listAt(field("paths") ?? null, `${where}.paths`).map((path, i) => parsePath(path, `${where}.paths[${i}]`)),
    mediaType: text(field("mediatype"), `${where}.mediatype`),
    ...(layerPath && { layerPath }),
    history: parseHistory(field("History") ?? new Map(), `${where}.History`),
  };
}

function parsePath(json: Json, where: string): Nix2containerPath {
  const field = membersOf(json, where, ["path", "options"]);
  const path = text(field("path"), `${where}.path`);
  const options = field("options");
  if (options === undefined) return { path };
  const at = `${where}.options`;
  const option = membersOf(options, at, ["rewrite", "perms"]);
  const perms = listAt(option("perms") ?? null, `${at}.perms`);
  return {
    path,
    options: {
      rewrite: rewriteOf(membersOf(option("rewrite") ?? new Map(), `${at}.rewrite`, REWRITE), `${at}.rewrite`),
      perms: perms.map((perm, i) => permOf(membersOf(perm, `${at}.perms[${i}]`, PERM), `${at}.perms[${i}]`)),
    },
  };
}

const REWRITE = ["regex", "repl"];

function rewriteOf(field: Members, where: string): Nix2containerRewrite {
  return {
    regex: optionalText(field("regex"), `${where}.regex`) ?? "",
    repl: optionalText(field("repl"), `${where}.repl`) ?? "",
  };
}

const PERM = ["regex", "mode", "uid", "gid", "uname", "gname"] as const satisfies readonly (keyof Nix2containerPerm)[];

function permOf(field: Members, where: string): Nix2containerPerm {
  const word = (name: string) => optionalText(field(name), `${where}.${name}`) ?? "";
  const mode = word("mode");
  if (!/^[0-7]{0,12}$/.test(mode) || Number.parseInt(mode, 8) > 0o7777) {
    throw wrong(`${where}.mode`, "an octal number up to 7777", mode);
  }
  return {
    regex: word("regex"),
    mode,
    uid: wholeNumber(field("uid"), `${where}.uid`, MAX_ID),
    gid: wholeNumber(field("gid"), `${where}.gid`, MAX_ID),
    uname: word("uname"),
    gname: word("gname"),
  };
}

const MAX_ID = 2 ** 32 - 2;

/** A member's value; undefined where it is absent or null. */
type Members = (name: string) => Exclude<Json, null> | undefined;

/** The members of an object, whose keys must be among `names`, whatever their case. */
function membersOf(json: Json, where: string, names: readonly string[]): Members {
  if (!isJsonObject(json)) throw wrong(where, "an object", json);
  const members = new Map<string, Json>();
  for (const [key, value] of json) {
    const name = names.find((known) => known.toLowerCase() === key.toLowerCase());
    if (name === undefined) {
      const near = nearest(key, names);
      throw new OciNixError("invalid-input", `${where}: unknown key ${JSON.stringify(key)}`, {
        hint: near === undefined ? `known keys: ${names.join(", ")}` : `did you mean ${near}?`,
      });
    }
    if (members.has(name)) throw new OciNixError("invalid-input", `${where}: ${name} is given twice`);
    members.set(name, value);
  }
  return (name) => members.get(name) ?? undefined;
}

function listAt(json: Json, where: string): readonly Json[] {
  if (json === null) return [];
  if (Array.isArray(json)) return json;
  throw wrong(where, "an array", json);
}

function text(value: Json | undefined, where: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw wrong(where, "a string that is not empty", value);
}

function optionalText(value: Json | undefined, where: string): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  throw wrong(where, "a string", value);
}

function wholeNumber(value: Json | undefined, where: string, max = Number.MAX_SAFE_INTEGER): number {
  if (value === undefined) return 0;
  const number = value instanceof JsonNumber && /^\d{1,16}$/.test(value.text) ? Number(value.text) : Number.NaN;
  if (number <= max) return number;
  throw wrong(where, `a whole number from 0 to ${max}`, value);
}
