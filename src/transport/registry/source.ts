import { sha256 } from "../../core/digest.js";
import { OciNixError, placed } from "../../core/errors.js";
import { isJsonObject, type Json, JsonNumber } from "../../core/json.js";
import { type Descriptor, kindOfMediaType, MediaType } from "../../oci/manifest.js";
import { isPlatform, type Platform } from "../../oci/platform.js";
import { familiarName } from "../../oci/reference.js";
import type { Document, ImageSource } from "../image.js";
import { type LoadedImage, loadedImage, Problems, parseImageManifest } from "../image-documents.js";
import { type Candidate, checkFound, findCandidates, severalPlatforms } from "../layout-index.js";
import { checkDocument, checkLayerCount, MAX_JSON, parseDocument } from "../stored-files.js";
import { soundLayers } from "../stored-layer.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "./http.js";
import { registryLayer } from "./layer.js";
import { checkLock, type ImageLock } from "./lock.js";
import { formatRegistryName, type RegistryName } from "./reference.js";
import { Repository } from "./repository.js";

export interface RegistrySourceOptions extends RegistryOptions {
  /** Needed where the name stands for images of several platforms. */
  readonly platform?: Platform | undefined;
  /** As `SourceOptions.takesDamaged`. */
  readonly takesDamaged?: boolean | undefined;
  /** Which image it has to be. */
  readonly lock?: ImageLock | undefined;
  /** How requests are sent; by default with connections of the source's own. */
  readonly open?: ((host: string, options: RegistryOptions) => RegistryHttp) | undefined;
}

/**
 * Opens an image at a registry. Manifest and config are read and verified now; layers when they are written.
 * @throws OciNixError `not-found`, `denied` or `unavailable` as the registry has it; `verification`, `invalid-input`, `unsupported` or
 *   `limit` for what it gave; `usage` where the platform is to be said; `conflict` with the lock; the signal's reason
 */
export async function openRegistrySource(
  name: RegistryName,
  options: RegistrySourceOptions = {},
): Promise<ImageSource> {
  const {
    takesDamaged = false,
    platform,
    lock,
    signal,
    tlsVerify,
    deadlineMs,
    retry,
    patience,
    clock,
    open = openRegistryHttp,
  } = options;
  if (lock !== undefined) checkLock(lock, name, platform);
  const http = open(name.host, { signal, tlsVerify, deadlineMs, retry, patience, clock });
  const close = () => void http.close().catch(() => undefined);
  try {
    const { host, repository } = name;
    const reader = new ImageReader(
      new Repository(http, { host, name: repository, access: "pull", signal }),
      name,
      takesDamaged,
    );
    // Whatever the name stands for by now is not asked for.
    const reference = lock?.digest ?? name.digest ?? name.tag ?? "latest";
    // A locked manifest is one image's, whatever it says of its platform.
    const image = await reader.image(reference, lock === undefined ? platform : undefined);
    checkLayerCount(image.layers.length, reader.title);
    const { tag } = name;
    const layers = image.layers.map((layer) => registryLayer(reader.repository, layer, signal));
    return {
      images: [
        {
          names: tag === undefined ? [] : [familiarName(`${host}/${repository}:${tag}`)],
          manifest: image.manifest,
          config: image.config,
          layers: takesDamaged ? layers : soundLayers(layers),
          problems: image.problems,
        },
      ],
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Of an index: whose platform it does not say, so that they have to be read. */
const MAX_UNKNOWN = 50;
/** Indexes within an index that are asked for, each by a request of its own. */
const MAX_INDEXES = 100;

class ImageReader {
  readonly repository: Repository;
  readonly title: string;
  readonly #takesDamaged: boolean;

  constructor(repository: Repository, name: RegistryName, takesDamaged: boolean) {
    this.#takesDamaged = takesDamaged;
    this.repository = repository;
    this.title = `docker://${formatRegistryName(name)}`;
  }

  async image(reference: string, platform: Platform | undefined): Promise<LoadedImage> {
    const top = await this.#manifest(reference);
    const candidates = await this.#candidates(top);
    const isWanted = (found: Platform | undefined) => platform === undefined || isPlatform(found, platform);
    const likely = candidates.filter((candidate) => candidate.platform === undefined || isWanted(candidate.platform));
    const platforms = candidates.flatMap((candidate) => candidate.platform ?? []);
    const certain = likely.filter((candidate) => candidate.platform !== undefined);
    if (certain.length > 1) {
      throw this.#several(certain.map((one) => ({ platform: one.platform, digest: one.descriptor.digest })));
    }
    if (likely.length > MAX_UNKNOWN) {
      throw new OciNixError("limit", `${this.title}: more than ${MAX_UNKNOWN} manifests do not say their platform`);
    }
    const images: LoadedImage[] = [];
    for (const candidate of likely) {
      const isTop = candidate.descriptor.digest === top.descriptor.digest;
      const image = await this.#load(candidate, isTop ? top.bytes : await this.#child(candidate.descriptor));
      if (image === undefined) continue;
      if (isWanted(image.platform)) images.push(image);
      else if (image.platform !== undefined) platforms.push(image.platform);
    }
    if (images.length > 1) {
      throw this.#several(images.map((one) => ({ platform: one.platform, digest: one.manifest.descriptor.digest })));
    }
    checkFound(images.length, { title: this.title, choice: { platform }, platforms });
    return images[0] as LoadedImage;
  }

  readonly #titleOf = (digest: string) => `${this.repository.title}@${digest}`;

  #several(images: Parameters<typeof severalPlatforms>[2]): OciNixError {
    return severalPlatforms(this.title, "it", images, "name one by its digest: docker://NAME@sha256:…");
  }

  /** Each once. */
  async #candidates({ descriptor, bytes }: Document): Promise<readonly Candidate[]> {
    const entry = { descriptor, platform: undefined, artifactType: undefined };
    const walk = findCandidates([{ entry, where: this.title }], { has: () => true, titleOf: this.#titleOf });
    let step = walk.next(bytes);
    for (let read = 0; step.done !== true; read++) {
      if (read > MAX_INDEXES) {
        throw new OciNixError("limit", `${this.title}: an index of more than ${MAX_INDEXES} indexes`, {
          hint: "name an image in it by its digest",
        });
      }
      const isTop = step.value.digest === descriptor.digest;
      step = walk.next(isTop ? bytes : await this.#child(step.value));
    }
    const byDigest = new Map(step.value.map((candidate) => [candidate.descriptor.digest, candidate]));
    return [...byDigest.values()];
  }

  /** What a tag or digest names. */
  async #manifest(reference: string): Promise<Document> {
    const response = await this.repository.readManifest(reference);
    const bytes = await response.bytes(MAX_JSON);
    const digest = sha256(bytes);
    const said = reference.startsWith("sha256:") ? reference : response.header("docker-content-digest");
    if (said?.startsWith("sha256:") && said !== digest) {
      throw new OciNixError(
        "verification",
        `${this.title}: the manifest ${response.shown(said)} arrived as ${digest}`,
        {
          hint: "something between here and the registry changes manifests, or the registry is damaged",
        },
      );
    }
    const contentType = response.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    const mediaType = mediaTypeOf(parseDocument(bytes, this.title), contentType, this.title);
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  /** A manifest that an index names. */
  async #child(descriptor: Descriptor): Promise<Buffer> {
    const where = this.#titleOf(descriptor.digest);
    checkSize(descriptor, where);
    const bytes = await (await this.repository.readManifest(descriptor.digest)).bytes(MAX_JSON);
    checkDocument(bytes, descriptor, where);
    return bytes;
  }

  async #load(candidate: Candidate, bytes: Uint8Array): Promise<LoadedImage | undefined> {
    const titleOf = this.#titleOf;
    const manifest = parseImageManifest({ ...candidate, bytes }, titleOf);
    if (manifest === undefined) return undefined;
    const { config } = manifest;
    checkSize(config, titleOf(config.digest));
    const response = await this.repository.readBlob(config.digest, 0).catch((error: unknown) => {
      const isGone = error instanceof OciNixError && error.code === "not-found";
      throw isGone ? placed("the image config cannot be read", error) : error;
    });
    const configBytes = await response.bytes(MAX_JSON);
    const problems = new Problems(this.#takesDamaged);
    return loadedImage(candidate, { manifest, bytes, configBytes, titleOf, problems });
  }
}

function checkSize({ size }: Descriptor, where: string): void {
  if (size > MAX_JSON) throw new OciNixError("limit", `${where} is larger than ${MAX_JSON} bytes`);
}

const SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json";

/** What a document is: as the registry says, if that tells anything, else as it says itself. */
function mediaTypeOf(json: Json, contentType: string | undefined, where: string): string {
  if (contentType !== undefined && kindOfMediaType(contentType, where) !== undefined) return contentType;
  if (!isJsonObject(json)) throw new OciNixError("invalid-input", `${where} is no manifest`);
  const version = json.get("schemaVersion");
  if (version instanceof JsonNumber && version.text === "1") kindOfMediaType(SCHEMA_1, where);
  const own = json.get("mediaType");
  if (typeof own === "string") return own;
  return json.has("manifests") ? MediaType.index : MediaType.manifest;
}
