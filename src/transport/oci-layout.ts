import { existsSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileSink } from "../core/byte-sink.js";
import { hexOf, sha256 } from "../core/digest.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, type JsonObject, toJson } from "../core/json.js";
import { readJsonFileSync } from "../core/json-file.js";
import { withLockFile } from "../core/lock-file.js";
import {
  adoptFile,
  createFile,
  makeDirectories,
  syncDirectory,
  syncFile,
  writeOutputFile,
} from "../core/output-file.js";
import { removeLeftovers } from "../core/temporary.js";
import { type IndexEntry, layoutEntries, OCI_LAYOUT, REF_NAME } from "../oci/layout.js";
import { type Descriptor, formatIndex } from "../oci/manifest.js";
import type { BlobSink, FinishedImage, ImageTarget } from "./image.js";

/**
 * Writes into an OCI image layout, a directory that is made if it is not there. Other images in it stay; one of the same name is replaced.
 *
 * Every file is written under a temporary name and renamed once it is on the disk; the index, which makes images visible, last. So a
 * layout never holds half an image, whenever the writing ends; blobs that nothing names may stay behind.
 *
 * @param ref the image's name in the index; undefined for the names that it brings along
 * @throws OciNixError `conflict` where the directory holds something else, `invalid-input` where its index cannot be read, `output`
 *   where it cannot be written
 */
export function openOciLayoutTarget(
  directory: string,
  ref: string | undefined,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ImageTarget {
  // A broken index is found before anything is written, and nothing is made before there is something to write.
  checkIsLayout(directory);
  readIndex(directory);
  const blobs = join(directory, "blobs", "sha256");
  const fileOf = (blob: Descriptor) => join(blobs, hexOf(blob.digest));
  const isNew = !existsSync(directory);
  let isReady = false;
  let isFinished = false;
  const makeReady = () => {
    if (isReady) return;
    makeDirectories(directory);
    removeLeftovers(directory);
    removeLeftovers(blobs);
    isReady = true;
  };
  /** Blobs that are written, but perhaps not on the disk yet. */
  const settling = new Map<string, Promise<void>>();
  return {
    title: `oci:${directory}${ref === undefined ? "" : `:${ref}`}`,
    takesOne: ref !== undefined,
    refuses: () => undefined,
    has: async (blob) => settling.has(blob.digest) || holds(fileOf(blob), blob),
    async link(blob, file) {
      makeReady();
      makeDirectories(blobs);
      return adoptFile(file, fileOf(blob));
    },
    async begin(): Promise<BlobSink> {
      makeReady();
      // On the layout's own file system, so that it can be renamed into place.
      const file = createFile(directory);
      const { write } = fileSink(file.fd, directory);
      let isCommitted = false;
      return {
        write,
        async commit(blob) {
          isCommitted = true;
          const settled = syncFile(file.fd, directory)
            .then(() => {
              makeDirectories(blobs);
              file.commit(fileOf(blob));
            })
            .finally(() => file.discard());
          // Looked at when the index is written; until then a failure must not count as unhandled.
          settled.catch(() => undefined);
          settling.set(blob.digest, settled);
        },
        async discard() {
          if (!isCommitted) file.discard();
        },
      };
    },
    async finish(images) {
      await Promise.all(settling.values());
      makeReady();
      makeDirectories(blobs);
      syncDirectory(blobs);
      const version = join(directory, "oci-layout");
      if (!existsSync(version)) writeOutputFile(version, OCI_LAYOUT);
      const lock = join(directory, ".oci-nix-index.lock");
      await withLockFile(lock, (isHeld) => setImages(directory, images, ref, isHeld), signal);
      isFinished = true;
    },
    async close() {
      await Promise.allSettled(settling.values());
      if (isNew && isReady && !isFinished) removeIfEmpty(directory);
    },
  };
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Something came into it.
  }
}

/** A layer is taken by its size; a document is small, so that its bytes are looked at. */
function holds(file: string, { digest, size, mediaType }: Descriptor): boolean {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || stat.size !== size) return false;
  if (!mediaType.endsWith("+json")) return true;
  try {
    return sha256(readFileSync(file)) === digest;
  } catch {
    return false;
  }
}

/** Makes images visible, each in place of others of its name. @returns false where the index may have changed meanwhile */
function setImages(
  directory: string,
  images: readonly FinishedImage[],
  ref: string | undefined,
  isHeld: () => boolean,
): boolean {
  const entries = images.flatMap((image) => layoutEntries(image.manifest, ref === undefined ? image.names : [ref]));
  // Read as late as can be: what others added meanwhile stays.
  const index = readIndex(directory);
  const others = index.manifests.filter((other) => !entries.some((entry) => replaces(entry, other)));
  const text = formatIndex([...others, ...entries.map(toJson)], index.others);
  if (!isHeld()) return false;
  writeOutputFile(join(directory, "index.json"), text);
  return true;
}

function replaces({ annotations, digest }: IndexEntry, other: Json): boolean {
  const name = annotations?.[REF_NAME];
  return refNameOf(other) === name && (name !== undefined || digestOf(other) === digest);
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
    if (errnoOf(error) === "ENOENT") return [];
    if (errnoOf(error) === "ENOTDIR") {
      throw new OciNixError("conflict", `${directory} is no directory: there is something else of that name`);
    }
    throw new OciNixError("output", `cannot read ${directory}: ${describeErrno(error)}`, { cause: error });
  }
}

/** The manifests of the index, and what else it says; none where there is no index yet. */
function readIndex(directory: string): { readonly manifests: readonly Json[]; readonly others: JsonObject } {
  const file = join(directory, "index.json");
  if (!existsSync(file)) return { manifests: [], others: new Map() };
  const index = readJsonFileSync(file);
  const manifests = isJsonObject(index) ? index.get("manifests") : undefined;
  if (isJsonObject(index) && Array.isArray(manifests)) return { manifests, others: index };
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
