import { type Digest, sha256 } from "../core/digest.js";
import { atPlace, OciNixError } from "../core/errors.js";
import { isJsonObject, type Json } from "../core/json.js";
import { diffIdsOf, MediaType } from "../oci/manifest.js";
import { isPlatform, parsePlatformObject } from "../oci/platform.js";
import type { ImageSource, StoredImage } from "./image.js";
import { checkCounts, Problems } from "./image-documents.js";
import { checkFound, matching, noSuchName, severalNames } from "./layout-index.js";
import type { ImageChoice } from "./oci-layout-reader.js";
import { archiveFiles, checkLayerCount, DocumentReader, parseDocument } from "./stored-files.js";
import { soundLayers, undescribedLayer } from "./stored-layer.js";

/** An image that manifest.json describes. */
export interface ArchivedImage extends StoredImage {
  /** What manifest.json calls the layers. */
  readonly layerNames: readonly string[];
  /** The image config's `config`: what containers run with. */
  readonly containerConfig: Json | undefined;
}

/**
 * Opens a docker-archive by its manifest.json, whatever else it is.
 * @param path plain or compressed; `-` is standard input
 * @throws OciNixError as `readArchive`
 */
export async function readDockerArchive(
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageSource & { readonly images: readonly ArchivedImage[] }> {
  const files = await archiveFiles(path, options.signal);
  try {
    return { images: imagesOfDockerArchive(new DocumentReader(files), {}), close: () => files.close() };
  } catch (error) {
    files.close();
    throw error;
  }
}

/** The images of an archive by its manifest.json. At least one. @throws OciNixError as `readArchive` */
export function imagesOfDockerArchive(documents: DocumentReader, choice: ImageChoice): readonly ArchivedImage[] {
  const { files } = documents;
  const all = describedImages(documents);
  const named = choice.ref === undefined ? all : selectImages(all, choice.ref, files.title);
  const read = named.map((image) => readImage(documents, image, choice.takesDamaged === true));
  const chosen = read.filter((image) => isPlatform(image.platform, choice.platform));
  checkFound(chosen.length, { title: files.title, choice, platforms: read.map((image) => image.platform) });
  return chosen.map(({ image }) => image);
}

/** An entry of manifest.json. */
export interface DescribedImage {
  readonly where: string;
  readonly configName: string;
  readonly names: readonly string[];
  readonly layerNames: readonly string[];
}

/** What manifest.json says, unread. @throws OciNixError `invalid-input` */
export function describedImages(documents: DocumentReader): readonly DescribedImage[] {
  const where = `${documents.files.title}: manifest.json`;
  const json = documents.json("manifest.json");
  if (!Array.isArray(json) || json.length === 0) {
    throw new OciNixError("invalid-input", `${where} does not describe an image (Config and Layers)`);
  }
  const images = json.map((entry: Json, i) => describedImage(entry, `${where}: [${i}]`));
  checkLayerCount(
    images.reduce((sum, { layerNames }) => sum + layerNames.length, 0),
    documents.files.title,
  );
  return images;
}

function describedImage(json: Json, where: string): DescribedImage {
  const configName = isJsonObject(json) ? json.get("Config") : undefined;
  const layerNames = isJsonObject(json) ? (json.get("Layers") ?? []) : undefined;
  const names = isJsonObject(json) ? (json.get("RepoTags") ?? []) : undefined;
  if (typeof configName !== "string" || !isStrings(layerNames)) {
    throw new OciNixError("invalid-input", `${where} does not describe an image (Config and Layers)`);
  }
  if (!isStrings(names)) throw new OciNixError("invalid-input", `${where}: RepoTags is not an array of names`);
  return { where, configName, layerNames, names };
}

function isStrings(value: Json | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** @throws OciNixError `not-found` with the names there are; `usage` where the name stands for several images */
export function selectImages<T extends { readonly names: readonly string[] }>(
  images: readonly T[],
  ref: string,
  title: string,
): readonly T[] {
  const at = /^@\d+$/.test(ref) ? images[Number(ref.slice(1))] : undefined;
  if (at !== undefined) return [at];
  const found = matching(images, ({ names }) => names, ref);
  const names = images.flatMap((image) => image.names);
  if (found.length === 0) throw noSuchName(title, ref, names);
  if (found.length > 1) {
    throw severalNames(
      title,
      ref,
      found.flatMap((image) => image.names),
    );
  }
  return found.map((image) => ({ ...image, names: matching(image.names, (name) => [name], ref) }));
}

function readImage(
  documents: DocumentReader,
  { where, configName, names, layerNames }: DescribedImage,
  takesDamaged: boolean,
) {
  const { files } = documents;
  const bytes = atPlace("the image config cannot be read", () => documents.bytes(configName));
  const configWhere = `${files.title}: ${configName}`;
  const digest = sha256(bytes);
  const problems = new Problems(takesDamaged);
  problems.check(() => checkConfigName(configName, digest, configWhere));
  const { config, diffIds, platform } = problems.parse(() => {
    const json = parseDocument(bytes, configWhere);
    return {
      config: json,
      diffIds: diffIdsOf(json, configWhere),
      platform: parsePlatformObject(json, configWhere),
    };
  });
  problems.check(() =>
    checkCounts(
      `${where} lists ${layerNames.length} layers, ${configName} has ${diffIds.length} diff_ids`,
      layerNames.length,
      diffIds.length,
    ),
  );
  const count = Math.min(diffIds.length, layerNames.length);
  const layers = diffIds.slice(0, count).map((diffId, i) => undescribedLayer(files, layerNames[i] as string, diffId));
  const image: ArchivedImage = {
    names,
    manifest: undefined,
    config: { descriptor: { mediaType: MediaType.config, digest, size: bytes.length }, bytes },
    layers: takesDamaged ? layers : soundLayers(layers),
    problems: problems.found,
    layerNames,
    containerConfig: isJsonObject(config) ? config.get("config") : undefined,
  };
  return { image, platform };
}

/** docker save and podman save name a config by its digest. @throws OciNixError `verification` where it has another one */
function checkConfigName(name: string, digest: Digest, where: string): void {
  const [, named] = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(name) ?? [];
  if (named === undefined || digest === `sha256:${named}`) return;
  throw new OciNixError("verification", `${where} is ${digest}`, {
    hint: "the image is damaged: write or fetch it again",
  });
}
