import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { type Descriptor, diffIdsOf, isImageConfig, type ManifestDocument, parseManifest } from "../oci/manifest.js";
import { type Platform, parsePlatformObject } from "../oci/platform.js";
import type { Document } from "./image.js";
import type { Candidate } from "./layout-index.js";
import { parseDocument } from "./stored-files.js";

/** An image whose documents are read. */
export interface LoadedImage {
  readonly manifest: Document;
  readonly config: Document;
  readonly platform: Platform | undefined;
  readonly layers: readonly { readonly descriptor: Descriptor; readonly diffId: Digest; readonly where: string }[];
}

type ImageManifest = Extract<ManifestDocument, { kind: "manifest" }>;

/**
 * Reads the manifest of an image; undefined for what is no image: signatures, attestations and the like.
 * @param titleOf what errors call a document
 * @throws OciNixError `invalid-input` or `unsupported`
 */
export function parseImageManifest(
  { descriptor, bytes }: Document,
  titleOf: (digest: Digest) => string,
): ImageManifest | undefined {
  const where = titleOf(descriptor.digest);
  const manifest = parseManifest(parseDocument(bytes, where), descriptor.mediaType, where);
  return manifest.kind === "manifest" && isImageConfig(manifest.config.mediaType) ? manifest : undefined;
}

/** The image that manifest and config describe. @throws OciNixError `invalid-input` */
export function loadedImage(
  candidate: Candidate,
  documents: {
    readonly manifest: ImageManifest;
    readonly bytes: Uint8Array;
    readonly configBytes: Uint8Array;
    readonly titleOf: (digest: Digest) => string;
  },
): LoadedImage {
  const { manifest, bytes, configBytes, titleOf } = documents;
  const where = titleOf(candidate.descriptor.digest);
  const configWhere = titleOf(manifest.config.digest);
  const config = parseDocument(configBytes, configWhere);
  const diffIds = diffIdsOf(config, configWhere);
  if (diffIds.length !== manifest.layers.length) {
    throw new OciNixError(
      "invalid-input",
      `${where} has ${manifest.layers.length} layers, the image config ${manifest.config.digest} has ${diffIds.length} diff_ids`,
    );
  }
  return {
    manifest: { descriptor: candidate.descriptor, bytes },
    config: { descriptor: manifest.config, bytes: configBytes },
    platform: candidate.platform ?? parsePlatformObject(config, configWhere),
    layers: manifest.layers.map((descriptor, i) => ({
      descriptor,
      diffId: diffIds[i] as Digest,
      where: `${where}: layers[${i}]`,
    })),
  };
}
