import { type Digest, sha256 } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { fullName } from "../oci/reference.js";
import { type DescribedImage, describedImages, imagesOfDockerArchive, selectImages } from "./docker-archive-reader.js";
import type { ImageSource, StoredImage } from "./image.js";
import { matching } from "./layout-index.js";
import { imagesOfLegacyArchive } from "./legacy-archive-reader.js";
import { everyImageOfLayout, type ImageChoice, imagesOfLayout } from "./oci-layout-reader.js";
import { archiveFiles, blobName, DocumentReader, openArchiveFiles, type StoredFiles } from "./stored-files.js";

/**
 * Opens the images of an archive: an OCI layout (`oci-archive`), a docker-archive of any age, or both in one, which must then agree and
 * is read as an OCI layout. It may be compressed as a whole; layers inside may be.
 * @param file `-` is standard input
 * @throws OciNixError `not-found` or `unreadable` for the file, `not-found` for a name or platform that is not in it; `invalid-input`,
 *   `verification`, `unsupported` or `limit` saying where in the archive; the signal's reason
 */
export async function readArchive(
  file: string,
  { signal, ...choice }: ImageChoice & { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageSource> {
  return await readFiles(await archiveFiles(file, signal), { signal, ...choice });
}

/**
 * As {@link readArchive}, of a plain archive that is open.
 * @param file is closed with the source
 * @param title what messages call it
 */
export async function readOpenArchive(
  file: { readonly fd: number; close(): void },
  title: string,
  { signal, ...choice }: ImageChoice & { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageSource> {
  return await readFiles(await openArchiveFiles(file, title, signal), { signal, ...choice });
}

async function readFiles(
  files: StoredFiles,
  { signal, ...choice }: ImageChoice & { readonly signal?: AbortSignal | undefined },
): Promise<ImageSource> {
  try {
    return { images: await imagesOf(files, choice, signal), close: () => files.close() };
  } catch (error) {
    files.close();
    throw error;
  }
}

async function imagesOf(
  files: StoredFiles,
  choice: ImageChoice,
  signal: AbortSignal | undefined,
): Promise<readonly StoredImage[]> {
  const documents = new DocumentReader(files);
  const isDockerArchive = files.has("manifest.json");
  if (files.has("oci-layout") && files.has("index.json")) {
    return isDockerArchive ? imagesOfBoth(documents, choice) : imagesOfLayout(documents, choice);
  }
  if (isDockerArchive) return imagesOfDockerArchive(documents, choice);
  if (files.has("repositories")) return await imagesOfLegacyArchive(documents, choice, signal);
  throw new OciNixError(
    "invalid-input",
    `${files.title} holds no image: neither manifest.json nor oci-layout and index.json`,
    { hint: "an archive as docker save, podman save or skopeo write it is expected" },
  );
}

/**
 * The images by index.json, which must not say otherwise than manifest.json: other programs read that. An image has the names of both.
 */
function imagesOfBoth(documents: DocumentReader, choice: ImageChoice): readonly StoredImage[] {
  const described = describedImages(documents).map((image) => ({
    ...image,
    config: sha256(documents.bytes(image.configName)),
  }));
  const images = everyImageOfLayout(documents);
  for (const image of described) checkAgreement(documents.files, image, images);
  const namesOf = (image: StoredImage): readonly string[] =>
    described.filter(({ config }) => config === image.config.descriptor.digest).flatMap(({ names }) => names);
  const { ref, platform } = choice;
  const isInIndex = ref === undefined || /^@/.test(ref) || matching(images, ({ names }) => names, ref).length > 0;
  if (isInIndex) {
    return imagesOfLayout(documents, choice).map((image) => ({ ...image, names: union(image.names, namesOf(image)) }));
  }
  const [{ config, names }] = selectImages(described, ref, documents.files.title) as [(typeof described)[number]];
  return imagesOfLayout(documents, { platform })
    .filter((image) => image.config.descriptor.digest === config)
    .map((image) => ({ ...image, names }));
}

/** Names of either, each once: programs that read manifest.json know the image by those. */
function union(names: readonly string[], others: readonly string[]): readonly string[] {
  const known = new Set(names.map(fullName));
  return [...names, ...others.filter((name) => !known.has(fullName(name)))];
}

function checkAgreement(
  files: StoredFiles,
  described: DescribedImage & { readonly config: Digest },
  images: ReturnType<typeof everyImageOfLayout>,
): void {
  const disagree = (what: string) =>
    new OciNixError("invalid-input", `${described.where} and index.json disagree: ${what}`, {
      hint: "the archive is different images to different programs: write it again",
    });
  const { config, layerNames, names } = described;
  const twins = images.filter((image) => image.config.descriptor.digest === config);
  if (twins.length === 0) throw disagree(`index.json has no image with the config ${config}`);
  for (const name of names) {
    const other = images.find((image) => image.names.some((known) => fullName(known) === fullName(name)));
    if (other !== undefined && !twins.some((twin) => twin.names.some((known) => fullName(known) === fullName(name)))) {
      throw disagree(`${name} is ${config}, and ${other.config.descriptor.digest}`);
    }
  }
  for (const { layers } of twins) {
    if (layers.length !== layerNames.length) throw disagree(`${layerNames.length} layers, and ${layers.length}`);
    for (const [i, { descriptor }] of layers.entries()) {
      const name = layerNames[i] as string;
      if (files.placeOf(name) !== files.placeOf(blobName(descriptor.digest))) {
        throw disagree(`layer ${i} is ${name}, and ${descriptor.digest}`);
      }
    }
  }
}
