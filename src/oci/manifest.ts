import type { CompressionName } from "../core/compression.js";
import { type Digest, parseDigest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { formatJson, isJsonObject, type Json, JsonNumber, type JsonObject, toJson } from "../core/json.js";
import { type Platform, parsePlatformObject } from "./platform.js";

/** Media types of the image-spec that we write. */
export const MediaType = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

/** The media type of a layer that is packed so. */
export function layerMediaType(compression: CompressionName): string {
  return compression === "none" ? MediaType.layer : `${MediaType.layer}+${compression}`;
}

/** How layers of a media type are packed: the image-spec's, those it no longer wants distributed, and Docker's. */
const LAYER_MEDIA_TYPES: ReadonlyMap<string, CompressionName> = new Map([
  [MediaType.layer, "none"],
  [`${MediaType.layer}+gzip`, "gzip"],
  [`${MediaType.layer}+zstd`, "zstd"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar", "none"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"],
]);

/** How layers of this media type are packed; undefined for one that is no layer's. */
export function compressionOfMediaType(mediaType: string): CompressionName | undefined {
  return LAYER_MEDIA_TYPES.get(mediaType);
}

/** Annotation of ours on a packed layer: what decided its bytes, as `codecOf` names it. */
export const COMPRESSION_ANNOTATION = "dev.oci-nix.compression";

/**
 * Annotation of ours on a layer that is made of store paths: the base names of all it holds, each at its own place and as it is, sorted
 * and separated by spaces. Empty for a layer that is more or other than that.
 */
export const STORE_PATHS_ANNOTATION = "dev.oci-nix.store-paths";
/** Annotation of ours beside {@link STORE_PATHS_ANNOTATION}: the store directory, where it is not `/nix/store`. */
export const STORE_DIR_ANNOTATION = "dev.oci-nix.store-dir";

/** What names a blob: the image-spec's descriptor. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** One entry of an image index. */
export interface IndexEntry {
  readonly descriptor: Descriptor;
  readonly platform: Platform | undefined;
  readonly artifactType: string | undefined;
}

/** What a descriptor of an index points to: one image, or another index. */
export type ManifestDocument =
  | { readonly kind: "manifest"; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
  | { readonly kind: "index"; readonly manifests: readonly IndexEntry[] };

const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;

const MANIFEST_KINDS: ReadonlyMap<string, ManifestDocument["kind"]> = new Map([
  [MediaType.index, "index"],
  [MediaType.manifest, "manifest"],
  [DOCKER_MANIFEST_LIST, "index"],
  [DOCKER_MANIFEST, "manifest"],
]);

/** What documents of this media type hold; undefined where it is neither a manifest nor an index. @throws OciNixError `unsupported` for Docker's schema 1 */
export function kindOfMediaType(mediaType: string, where: string): ManifestDocument["kind"] | undefined {
  if (!DOCKER_SCHEMA_1.test(mediaType)) return MANIFEST_KINDS.get(mediaType);
  throw new OciNixError(
    "unsupported",
    `${where}: manifests of Docker's schema 1 are not read: they have no image config`,
    {
      hint: "convert the image first: docker pull and docker save, or skopeo copy --format=oci",
    },
  );
}

/** Whether a blob of this media type is the config of an image, rather than of another kind of artifact. */
export function isImageConfig(mediaType: string): boolean {
  return mediaType === MediaType.config || mediaType === "application/vnd.docker.container.image.v1+json";
}

/**
 * Reads a manifest or an index, the image-spec's or Docker's.
 * @param mediaType what the descriptor says it is; undefined for an index.json, which nothing describes
 * @throws OciNixError `invalid-input` or `unsupported` with the place
 */
export function parseManifest(json: Json, mediaType: string | undefined, where: string): ManifestDocument {
  if (!isJsonObject(json)) throw new OciNixError("invalid-input", `${where} is not an object`);
  const own = json.get("mediaType") ?? undefined;
  if (own !== undefined && typeof own !== "string") {
    throw new OciNixError("invalid-input", `${where}: mediaType is not a string`);
  }
  if (own !== undefined && mediaType !== undefined && own !== mediaType) {
    throw new OciNixError("invalid-input", `${where} says it is ${own}, its descriptor says ${mediaType}`);
  }
  const type = mediaType ?? own ?? MediaType.index;
  const kind = kindOfMediaType(type, where);
  if (kind === undefined) throw new OciNixError("unsupported", `${where}: ${type} is no image manifest or index`);
  const version = json.get("schemaVersion");
  if (!(version instanceof JsonNumber) || version.text !== "2") {
    throw new OciNixError("invalid-input", `${where}: schemaVersion is not 2`);
  }
  // What could be read as either would be two images under one digest (CVE-2021-41190).
  const other = kind === "index" ? ["config", "layers", "fsLayers"] : ["manifests", "fsLayers"];
  const found = other.find((key) => json.has(key));
  if (found !== undefined)
    throw new OciNixError("invalid-input", `${where} is an image ${kind}, and has ${found} as well`);
  if (kind === "index") {
    return {
      kind,
      manifests: arrayOf(json, "manifests", where).map(([entry, place]) => parseIndexEntry(entry, place)),
    };
  }
  return {
    kind,
    config: parseDescriptor(json.get("config"), `${where}: config`),
    layers: arrayOf(json, "layers", where).map(([layer, place]) => parseDescriptor(layer, place)),
  };
}

function parseIndexEntry(json: Json, where: string): IndexEntry {
  const descriptor = parseDescriptor(json, where);
  const object = json as JsonObject;
  const artifactType = object.get("artifactType") ?? undefined;
  if (artifactType !== undefined && typeof artifactType !== "string") {
    throw new OciNixError("invalid-input", `${where}: artifactType is not a string`);
  }
  return { descriptor, platform: parsePlatformObject(object.get("platform"), `${where}: platform`), artifactType };
}

/** Reads a descriptor. @throws OciNixError `invalid-input`; `unsupported` for digests that are not SHA-256 */
function parseDescriptor(json: Json | undefined, where: string): Descriptor {
  if (!isJsonObject(json)) throw new OciNixError("invalid-input", `${where} is not a descriptor`);
  const mediaType = json.get("mediaType");
  if (typeof mediaType !== "string") throw new OciNixError("invalid-input", `${where}: mediaType is not a string`);
  const digest = json.get("digest");
  if (typeof digest === "string" && /^(?!sha256:)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/.test(digest)) {
    throw new OciNixError("unsupported", `${where}: digest ${digest} is not SHA-256, the only algorithm that is read`);
  }
  const size = json.get("size");
  if (!(size instanceof JsonNumber) || !/^\d{1,16}$/.test(size.text) || !Number.isSafeInteger(Number(size.text))) {
    throw new OciNixError("invalid-input", `${where}: size is not a count of bytes`);
  }
  const annotations = annotationsOf(json.get("annotations") ?? undefined, where);
  return {
    mediaType,
    digest: parseDigest(digest, `${where}: digest`),
    size: Number(size.text),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** The descriptor with more annotations. */
export function withAnnotations(descriptor: Descriptor, more: Readonly<Record<string, string>>): Descriptor {
  if (Object.keys(more).length === 0) return descriptor;
  return { ...descriptor, annotations: { ...descriptor.annotations, ...more } };
}

function annotationsOf(json: Json | undefined, where: string): Readonly<Record<string, string>> | undefined {
  if (json === undefined) return undefined;
  const entries = isJsonObject(json) ? [...json] : undefined;
  if (entries?.every((entry): entry is [string, string] => typeof entry[1] === "string"))
    return Object.fromEntries(entries);
  throw new OciNixError("invalid-input", `${where}: annotations is not an object of strings`);
}

/** The diffIDs of an image config, bottom first. @throws OciNixError `invalid-input` */
export function diffIdsOf(config: Json, where: string): readonly Digest[] {
  const rootfs = isJsonObject(config) ? config.get("rootfs") : undefined;
  const ids = isJsonObject(rootfs) ? rootfs.get("diff_ids") : undefined;
  // Go writes an empty list as null.
  if (isJsonObject(rootfs) && ids === null) return [];
  if (!Array.isArray(ids)) throw new OciNixError("invalid-input", `${where} is not an image config (rootfs.diff_ids)`);
  return ids.map((id, i) => parseDigest(id, `${where}: rootfs.diff_ids[${i}]`));
}

function arrayOf(json: JsonObject, key: string, where: string): readonly (readonly [Json, string])[] {
  const value = json.get(key);
  if (!Array.isArray(value)) throw new OciNixError("invalid-input", `${where}: ${key} is not an array`);
  return value.map((item: Json, i) => [item, `${where}: ${key}[${i}]`]);
}

/** The bytes of an image manifest: compact JSON, keys in the image-spec's order. */
export function formatManifest(config: Descriptor, layers: readonly Descriptor[], annotations?: Json): string {
  return formatJson(toJson({ schemaVersion: 2, mediaType: MediaType.manifest, config, layers, annotations }));
}

/**
 * The bytes of an image index whose manifests are given as they stand in it.
 * @param others what else an index says that is written anew
 */
export function formatIndex(manifests: readonly Json[], others: JsonObject = new Map()): string {
  const kept = [...others].filter(([key]) => !["schemaVersion", "mediaType", "manifests"].includes(key));
  const index = toJson({ schemaVersion: 2, mediaType: MediaType.index, manifests }) as JsonObject;
  return formatJson(new Map([...index, ...kept]));
}
