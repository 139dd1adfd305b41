import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { formatJson, type Json, toJson } from "../core/json.js";

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

/** What names a blob: the image-spec's descriptor. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The bytes of an image manifest: compact JSON, keys in the image-spec's order. */
export function formatManifest(config: Descriptor, layers: readonly Descriptor[], annotations?: Json): string {
  return formatJson(toJson({ schemaVersion: 2, mediaType: MediaType.manifest, config, layers, annotations }));
}

/** The bytes of an image index whose manifests are given as they stand in it. */
export function formatIndex(manifests: readonly Json[]): string {
  return formatJson(toJson({ schemaVersion: 2, mediaType: MediaType.index, manifests }));
}
