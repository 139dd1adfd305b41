import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { BlockWriter, BULK_BLOCK_SIZE, type WriteProgress } from "../core/block-writer.js";
import { fdSink } from "../core/byte-sink.js";
import { type Digest, hexOf, sha256 } from "../core/digest.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, toJson } from "../core/json.js";
import { readJsonFile } from "../core/json-file.js";
import { createFile, makeDirectories, writeOutputFile } from "../core/output-file.js";
import { type Descriptor, formatIndex, formatManifest, MediaType } from "../oci/manifest.js";
import type { StreamableImage } from "./docker-archive.js";

/** What an image in a layout turned out to be. */
export interface WrittenImage {
  /** Of the manifest. */
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

const LAYOUT = '{"imageLayoutVersion":"1.0.0"}';
const REF_NAME = "org.opencontainers.image.ref.name";

/**
 * Writes an image into an OCI image layout, a directory that is made if it is not there. Other images in it stay; one of the same tag is
 * replaced. Layers are not compressed.
 *
 * Every file is written under a temporary name and renamed; the index, which makes the image visible, last. So a layout never holds
 * half an image, whenever the writing ends; blobs that nothing names may stay behind.
 *
 * @param tag the image's name in the index; undefined for none
 * @throws OciNixError `conflict` where the directory holds something else, `invalid-input` where its index cannot be read, `output`
 *   where it cannot be written
 */
export async function writeOciLayout(
  image: StreamableImage,
  { directory, tag }: { readonly directory: string; readonly tag: string | undefined },
  {
    signal,
    progress,
  }: { readonly signal?: AbortSignal | undefined; readonly progress?: WriteProgress | undefined } = {},
): Promise<WrittenImage> {
  const layout = new Layout(directory);
  const layers: Descriptor[] = [];
  for (const open of image.layers) {
    const blob = await open();
    const digest = await layout.put(async (fd, name) => {
      const out = new BlockWriter(fdSink(fd, name, signal), {
        blockSize: BULK_BLOCK_SIZE,
        signal,
        ...(progress === undefined ? {} : { progress }),
      });
      const digest = await blob.writeTo(out);
      await out.flush();
      return digest;
    });
    layers.push({ mediaType: MediaType.layer, digest, size: blob.size });
  }
  const config = layout.putText(MediaType.config, image.config(layers.map(({ digest }) => digest)));
  const manifest = layout.putText(MediaType.manifest, formatManifest(config, layers));
  layout.setImage(manifest, tag);
  return { manifest, config, layers };
}

/** The layout's directory while an image is written to it. */
class Layout {
  readonly #directory: string;
  readonly #blobs: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#blobs = join(directory, "blobs", "sha256");
    makeDirectories(directory);
    checkIsLayout(directory);
    // A broken index is found before anything is written.
    readIndex(directory);
    makeDirectories(this.#blobs);
    writeOutputFile(join(directory, "oci-layout"), LAYOUT);
  }

  /** Takes a blob that `write` writes to a descriptor, giving its digest. */
  async put(write: (fd: number, name: string) => Promise<Digest>): Promise<Digest> {
    // On the layout's own file system, so that it can be renamed into place.
    const file = createFile(this.#directory);
    try {
      const digest = await write(file.fd, this.#directory);
      file.commit(join(this.#blobs, hexOf(digest)));
      return digest;
    } finally {
      file.discard();
    }
  }

  putText(mediaType: string, text: string): Descriptor {
    const digest = sha256(text);
    writeOutputFile(join(this.#blobs, hexOf(digest)), text);
    return { mediaType, digest, size: Buffer.byteLength(text) };
  }

  /** Makes a manifest visible, in place of another one of the same tag. */
  setImage(manifest: Descriptor, tag: string | undefined): void {
    const entry = tag === undefined ? manifest : { ...manifest, annotations: { [REF_NAME]: tag } };
    const isReplaced = (other: Json) => {
      const name = refNameOf(other);
      return name === tag && (tag !== undefined || digestOf(other) === manifest.digest);
    };
    // Read as late as can be: what others added meanwhile stays.
    const others = readIndex(this.#directory).filter((other) => !isReplaced(other));
    writeOutputFile(join(this.#directory, "index.json"), formatIndex([...others, toJson(entry)]));
  }
}

/** A directory that holds anything but a layout is left alone. */
function checkIsLayout(directory: string): void {
  if (existsSync(join(directory, "oci-layout"))) return;
  const known = ["blobs", "index.json"];
  const other = readdirOf(directory).find((name) => !known.includes(name) && !name.startsWith(".oci-nix-"));
  if (other === undefined) return;
  throw new OciNixError("conflict", `${directory} is no OCI layout: it holds ${other}, and no file oci-layout`, {
    hint: "name a directory that is empty or not there yet",
  });
}

function readdirOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    throw new OciNixError("output", `cannot read ${directory}: ${describeErrno(error)}`, { cause: error });
  }
}

/** The manifests of the index; none where there is no index yet. */
function readIndex(directory: string): readonly Json[] {
  const file = join(directory, "index.json");
  if (!existsSync(file)) return [];
  const index = readJsonFile(file);
  const manifests = isJsonObject(index) ? index.get("manifests") : undefined;
  if (Array.isArray(manifests)) return manifests as readonly Json[];
  throw new OciNixError("invalid-input", `${file} is not an OCI image index: it has no array of manifests`, {
    hint: "name another directory, or mend the layout",
  });
}

function refNameOf(manifest: Json): string | undefined {
  const annotations = isJsonObject(manifest) ? manifest.get("annotations") : undefined;
  const name = isJsonObject(annotations) ? annotations.get(REF_NAME) : undefined;
  return typeof name === "string" ? name : undefined;
}

function digestOf(manifest: Json): Json | undefined {
  return isJsonObject(manifest) ? manifest.get("digest") : undefined;
}
