import type { Digest } from "../core/digest.js";
import { formatJson, type Json, toJson } from "../core/json.js";

/** Media types of the image-spec that we write. */
export const MediaType = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

/** What names a blob: the image-spec's descriptor. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The bytes of an image manifest: compact JSON, keys in the image-spec's order. */
export function formatManifest(config: Descriptor, layers: readonly Descriptor[]): string {
  return formatJson(toJson({ schemaVersion: 2, mediaType: MediaType.manifest, config, layers }));
}

/** The bytes of an image index whose manifests are given as they stand in it. */
export function formatIndex(manifests: readonly Json[]): string {
  return formatJson(toJson({ schemaVersion: 2, mediaType: MediaType.index, manifests }));
}
