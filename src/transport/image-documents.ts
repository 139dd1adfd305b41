import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { diffIdsOf, isImageConfig, type ManifestDocument, parseManifest } from "../oci/manifest.js";
import { formatPlatform, isPlatform, type Platform, parsePlatformObject } from "../oci/platform.js";
import type { Document } from "./image.js";
import type { Candidate } from "./layout-index.js";
import { checkDocument, parseDocument } from "./stored-files.js";
import type { LayerDescription } from "./stored-layer.js";

/** An image whose documents are read. */
export interface LoadedImage {
  readonly manifest: Document;
  readonly config: Document;
  readonly platform: Platform | undefined;
  /** As many as manifest and config both have. */
  readonly layers: readonly LayerDescription[];
  /** As those of a `StoredImage`. */
  readonly problems: readonly OciNixError[];
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

/**
 * The image that manifest and config describe.
 * @param documents.problems where what they say that is not so goes
 * @throws OciNixError `invalid-input`; `verification` where the config is not the one that the manifest names
 */
export function loadedImage(
  candidate: Candidate,
  documents: {
    readonly manifest: ImageManifest;
    readonly bytes: Uint8Array;
    readonly configBytes: Uint8Array;
    readonly titleOf: (digest: Digest) => string;
    readonly problems: Problems;
  },
): LoadedImage {
  const { manifest, bytes, configBytes, titleOf, problems } = documents;
  const where = titleOf(candidate.descriptor.digest);
  const configWhere = titleOf(manifest.config.digest);
  problems.check(() => checkDocument(configBytes, manifest.config, `${configWhere}, the image config,`));
  const { diffIds, platform } = problems.parse(() => {
    const config = parseDocument(configBytes, configWhere);
    return { diffIds: diffIdsOf(config, configWhere), platform: parsePlatformObject(config, configWhere) };
  });
  problems.check(() =>
    checkCounts(
      `${where} has ${manifest.layers.length} layers, the image config ${manifest.config.digest} has ${diffIds.length} diff_ids`,
      manifest.layers.length,
      diffIds.length,
    ),
  );
  if (problems.areTaken) problems.check(() => checkPlatform(candidate, platform, where));
  return {
    manifest: { descriptor: candidate.descriptor, bytes },
    config: { descriptor: manifest.config, bytes: configBytes },
    platform: candidate.platform ?? platform,
    layers: manifest.layers.slice(0, diffIds.length).map((descriptor, i) => ({
      descriptor,
      diffId: diffIds[i] as Digest,
      where: `${where}: layers[${i}]`,
    })),
    problems: problems.found,
  };
}

/** What is wrong with an image's documents: noted where damaged images are taken, else an error. */
export class Problems {
  readonly found: OciNixError[] = [];
  readonly areTaken: boolean;

  constructor(areTaken: boolean) {
    this.areTaken = areTaken;
  }

  check(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!this.areTaken || !(error instanceof OciNixError)) throw error;
      this.found.push(error);
    }
  }

  /** Parses a document. @throws OciNixError the last problem found, where there is one: it is then why the document is none */
  parse<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw error instanceof OciNixError ? (this.found.at(-1) ?? error) : error;
    }
  }
}

/** @throws OciNixError `invalid-input` where there is not one diffID for each layer */
export function checkCounts(message: string, layers: number, diffIds: number): void {
  if (layers !== diffIds) throw new OciNixError("invalid-input", message);
}

/** Others choose an image by what the index says, and run it as what the config says. */
function checkPlatform({ platform: said }: Candidate, platform: Platform | undefined, where: string): void {
  if (said === undefined || isPlatform(platform, said)) return;
  const found = platform === undefined ? "no platform" : formatPlatform(platform);
  const message = `the index says that ${where} is for ${formatPlatform(said)}, its config says ${found}`;
  throw new OciNixError("verification", message);
}
