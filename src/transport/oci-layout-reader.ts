import { statSync } from "node:fs";
import type { Digest } from "../core/digest.js";
import { atPlace, describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { isJsonObject } from "../core/json.js";
import { type IndexEntry, parseManifest } from "../oci/manifest.js";
import { isPlatform, type Platform, type PlatformChoice } from "../oci/platform.js";
import type { ImageSource, StoredImage } from "./image.js";
import { type LoadedImage, loadedImage, Problems, parseImageManifest } from "./image-documents.js";
import {
  type Candidate,
  candidatesOf,
  checkFound,
  type EntryGroup,
  selectEntries,
  severalPlatforms,
} from "./layout-index.js";
import {
  blobName,
  checkDocument,
  checkLayerCount,
  DocumentReader,
  directoryFiles,
  type StoredFiles,
} from "./stored-files.js";
import { describedLayer, soundLayers } from "./stored-layer.js";

/** Which images of a medium. */
export interface ImageChoice {
  /** A name in full, its tag alone, or `@` and the image's number from 0; without it all images. */
  readonly ref?: string | undefined;
  /** Needed where a name stands for images of several platforms; `every` for all of them. */
  readonly platform?: PlatformChoice;
  /** As `SourceOptions.takesDamaged`. */
  readonly takesDamaged?: boolean | undefined;
}

/**
 * Opens the images of an OCI image layout. Documents are read and verified now; layers are opened when they are written.
 * @throws OciNixError `not-found` for a layout, tag or platform that is not there; `invalid-input`, `verification`, `unsupported` or
 *   `limit` saying where in the layout
 */
export async function readOciLayout(
  directory: string,
  { tag, ...choice }: Omit<ImageChoice, "ref"> & { readonly tag?: string | undefined } = {},
): Promise<ImageSource> {
  checkDirectory(directory);
  const files = directoryFiles(directory);
  if (!files.has("oci-layout")) {
    throw new OciNixError("not-found", `${directory} is no OCI layout: it has no file oci-layout`, {
      hint: "name the directory that holds oci-layout, index.json and blobs",
    });
  }
  return { images: imagesOfLayout(new DocumentReader(files), { ...choice, ref: tag }), close: () => files.close() };
}

function checkDirectory(directory: string): void {
  try {
    if (statSync(directory).isDirectory()) return;
  } catch (error) {
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
    throw new OciNixError(code, `cannot read ${directory}: ${describeErrno(error)}`, { cause: error });
  }
  throw new OciNixError("unreadable", `cannot read ${directory}: it is not a directory`, {
    hint: "an OCI layout in one file is oci-archive:FILE",
  });
}

/** The images of a layout, wherever its files are. At least one. @throws OciNixError as {@link readOciLayout} */
export function imagesOfLayout(documents: DocumentReader, choice: ImageChoice): readonly StoredImage[] {
  const { title } = documents.files;
  const { takesDamaged = false } = choice;
  const images = new Map<Digest, { readonly image: LoadedImage; readonly names: Set<string> }>();
  const platforms: (Platform | undefined)[] = [];
  for (const group of selectEntries(readIndex(documents), choice.ref, title)) {
    const all = loadImages(documents, group.entries, takesDamaged);
    const { platform } = choice;
    const chosen = all.filter((image) => isPlatform(image.platform, platform));
    platforms.push(...all.map((image) => image.platform));
    if (chosen.length > 1 && platform !== "every")
      throw severalPlatforms(
        title,
        group.title,
        chosen.map((image) => ({ platform: image.platform, digest: image.manifest.descriptor.digest })),
      );
    for (const image of chosen) {
      const { digest } = image.manifest.descriptor;
      const known = images.get(digest) ?? { image, names: new Set() };
      for (const name of group.names) known.names.add(name);
      images.set(digest, known);
    }
  }
  checkFound(images.size, { title, choice, platforms });
  checkLayerCount(
    [...images.values()].reduce((sum, { image }) => sum + image.layers.length, 0),
    title,
  );
  return [...images.values()].map(({ image, names }) => withLayers(documents.files, image, [...names], takesDamaged));
}

/** Every image of a layout, of every platform. @throws OciNixError as {@link readOciLayout} */
export function everyImageOfLayout(
  documents: DocumentReader,
  takesDamaged = false,
): readonly (LoadedImage & Pick<EntryGroup, "names">)[] {
  return selectEntries(readIndex(documents), undefined, documents.files.title).flatMap(({ names, entries }) =>
    loadImages(documents, entries, takesDamaged).map((image) => ({ ...image, names })),
  );
}

function readIndex(documents: DocumentReader): readonly IndexEntry[] {
  checkVersion(documents);
  const where = `${documents.files.title}: index.json`;
  const index = parseManifest(documents.json("index.json"), undefined, where);
  if (index.kind === "index") return index.manifests;
  throw new OciNixError("invalid-input", `${where} is not an image index`);
}

function loadImages(
  documents: DocumentReader,
  entries: EntryGroup["entries"],
  takesDamaged: boolean,
): readonly LoadedImage[] {
  const images = new Map<Digest, LoadedImage>();
  for (const candidate of candidatesOf(entries, documents)) {
    if (images.has(candidate.descriptor.digest)) continue;
    const image = loadImage(documents, candidate, takesDamaged);
    if (image !== undefined) images.set(candidate.descriptor.digest, image);
  }
  return [...images.values()];
}

function checkVersion(documents: DocumentReader): void {
  const layout = documents.json("oci-layout");
  const version = isJsonObject(layout) ? layout.get("imageLayoutVersion") : undefined;
  if (typeof version === "string" && /^1\./.test(version)) return;
  throw new OciNixError(
    "unsupported",
    `${documents.files.title}: oci-layout: imageLayoutVersion is ${JSON.stringify(version ?? null)}, and 1.0.0 is read`,
  );
}

/** Undefined for what is no image: signatures, attestations and the like. */
function loadImage(documents: DocumentReader, candidate: Candidate, takesDamaged: boolean): LoadedImage | undefined {
  const titleOf = (digest: Digest) => `${documents.files.title}: ${blobName(digest)}`;
  const { digest } = candidate.descriptor;
  const bytes = atPlace("the manifest cannot be read", () => documents.bytes(blobName(digest)));
  const problems = new Problems(takesDamaged);
  problems.check(() => checkDocument(bytes, candidate.descriptor, `${titleOf(digest)}, the manifest,`));
  const manifest = problems.parse(() => parseImageManifest({ ...candidate, bytes }, titleOf));
  if (manifest === undefined) return undefined;
  const configName = blobName(manifest.config.digest);
  const configBytes = atPlace("the image config cannot be read", () => documents.bytes(configName));
  return loadedImage(candidate, { manifest, bytes, configBytes, titleOf, problems });
}

function withLayers(
  files: StoredFiles,
  { manifest, config, layers, problems }: LoadedImage,
  names: readonly string[],
  takesDamaged: boolean,
): StoredImage {
  const opened = layers.map((layer) => describedLayer(files, blobName(layer.descriptor.digest), layer));
  return { names, manifest, config, layers: takesDamaged ? opened : soundLayers(opened), problems };
}
