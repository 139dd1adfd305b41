import { type Digest, sha256 } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { fullName } from "../oci/reference.js";
import { type DescribedImage, describedImages, imagesOfDockerArchive, selectImages } from "./docker-archive-reader.js";
import type { ImageSource, StoredImage } from "./image.js";
import type { LoadedImage } from "./image-documents.js";
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
  const { files } = documents;
  const images = everyImageOfLayout(documents, choice.takesDamaged);
  const described = describedImages(documents).map((image) => {
    const config = sha256(documents.bytes(image.configName));
    return { ...image, config, manifests: manifestsOf(files, { ...image, config }, images) };
  });
  // Each twin of a config is an entry of manifest.json, or there are blobs that its readers never see.
  for (const { where, config, layerNames } of described) {
    const twin = images.find(
      ({ manifest, config: { descriptor } }) =>
        descriptor.digest === config && !described.some(({ manifests }) => manifests.has(manifest.descriptor.digest)),
    );
    if (twin !== undefined) throw disagree(where, difference(files, layerNames, twin.layers) as string);
  }
  const namesOf = ({ manifest }: StoredImage): readonly string[] =>
    described.flatMap(({ manifests, names }) => (manifests.has(manifest?.descriptor.digest) ? names : []));
  const { ref } = choice;
  const isInIndex = ref === undefined || /^@/.test(ref) || matching(images, ({ names }) => names, ref).length > 0;
  if (isInIndex) {
    return imagesOfLayout(documents, choice).map((image) => ({ ...image, names: union(image.names, namesOf(image)) }));
  }
  const [{ manifests, names }] = selectImages(described, ref, files.title) as [(typeof described)[number]];
  return imagesOfLayout(documents, { ...choice, ref: undefined })
    .filter(({ manifest }) => manifests.has(manifest?.descriptor.digest))
    .map((image) => ({ ...image, names }));
}

/** Names of either, each once: programs that read manifest.json know the image by those. */
function union(names: readonly string[], others: readonly string[]): readonly string[] {
  const known = new Set(names.map(fullName));
  return [...names, ...others.filter((name) => !known.has(fullName(name)))];
}

/**
 * Digests of the manifests in index.json that are an image of manifest.json: of the same config, and with the same blobs, as an image can be
 * there twice, packed in two ways.
 * @throws OciNixError `invalid-input` where there is none, or index.json has one of its names for another image
 */
function manifestsOf(
  files: StoredFiles,
  described: DescribedImage & { readonly config: Digest },
  images: ReturnType<typeof everyImageOfLayout>,
): ReadonlySet<Digest | undefined> {
  const { where, config, layerNames, names } = described;
  const twins = images.filter((image) => image.config.descriptor.digest === config);
  if (twins.length === 0) throw disagree(where, `index.json has no image with the config ${config}`);
  for (const name of names) {
    const other = images.find((image) => image.names.some((known) => fullName(known) === fullName(name)));
    if (other !== undefined && !twins.some((twin) => twin.names.some((known) => fullName(known) === fullName(name)))) {
      throw disagree(where, `${name} is ${config}, and ${other.config.descriptor.digest}`);
    }
  }
  const differences = twins.map(({ layers }) => difference(files, layerNames, layers));
  const [first] = differences;
  if (first !== undefined && !differences.includes(undefined)) throw disagree(where, first);
  return new Set(
    twins.filter((_, i) => differences[i] === undefined).map(({ manifest }) => manifest.descriptor.digest),
  );
}

/** What is not the same; undefined where nothing is. */
function difference(files: StoredFiles, names: readonly string[], layers: LoadedImage["layers"]): string | undefined {
  if (layers.length !== names.length) return `${names.length} layers, and ${layers.length}`;
  const other = layers.findIndex(({ descriptor }, i) => {
    const [name, blob] = [names[i] as string, blobName(descriptor.digest)];
    return name !== blob && files.placeOf(name) !== files.placeOf(blob);
  });
  return other === -1 ? undefined : `layer ${other} is ${names[other]}, and ${layers[other]?.descriptor.digest}`;
}

function disagree(where: string, what: string): OciNixError {
  return new OciNixError("invalid-input", `${where} and index.json disagree: ${what}`, {
    hint: "the archive is different images to different programs: write it again",
  });
}
