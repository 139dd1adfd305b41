import { realpathSync } from "node:fs";
import { join } from "node:path";
import { type Digest, sha256 } from "../core/digest.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { openForReading, readRange } from "../core/file-range.js";
import { isJsonObject, type Json, parseJson } from "../core/json.js";
import type { Descriptor } from "../oci/manifest.js";
import { type ArchiveMember, indexArchive, memberName } from "../tar/reader.js";
import { openUnpacked, STANDARD_INPUT } from "./unpacked-file.js";

/** A file that is open: a range of a descriptor. */
export interface OpenedFile {
  readonly fd: number;
  readonly offset: number;
  readonly size: number;
  close(): void;
}

/** The files of a medium, by name: a directory's, or an archive's members. */
export interface StoredFiles {
  /** What messages call the medium. */
  readonly title: string;
  /** Whether there is a file of this name; links are followed. @throws OciNixError `unreadable` where that cannot be told */
  has(name: string): boolean;
  /** @throws OciNixError `invalid-input` or `unreadable` naming medium and file */
  open(name: string): OpenedFile;
  /** The path of the file, where it is one of its own. */
  pathOf(name: string): string | undefined;
  /** Where the contents are: equal for two names of one file. */
  placeOf(name: string): string;
  close(): void;
}

/** What tells that there is no file; anything else tells that nobody knows. */
const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"]);

/** The files below a directory. Each is opened when it is read. */
export function directoryFiles(directory: string): StoredFiles {
  const real = (name: string): string | undefined => {
    const path = join(directory, name);
    try {
      return realpathSync(path);
    } catch (error) {
      if (ABSENT.has(errnoOf(error) ?? "")) return undefined;
      throw new OciNixError("unreadable", `cannot read ${path}: ${describeErrno(error)}`, { cause: error });
    }
  };
  return {
    title: directory,
    has: (name) => real(name) !== undefined,
    open(name) {
      if (real(name) === undefined) throw missing(directory, name);
      const opened = openForReading(join(directory, name));
      return { ...opened, offset: 0 };
    },
    // A link of somebody else's making may lead anywhere: what it leads to is read, and so verified, but never linked.
    pathOf: (name) => (real(name) === join(realpathSync(directory), name) ? real(name) : undefined),
    placeOf: (name) => real(name) ?? name,
    close: () => undefined,
  };
}

/**
 * The members of an archive, plain or compressed as a whole; `-` is standard input. Links between members are followed, and never lead
 * out of the archive.
 * @throws OciNixError as `openUnpacked` and `indexArchive`
 */
export async function archiveFiles(path: string, signal?: AbortSignal): Promise<StoredFiles> {
  return await openArchiveFiles(await openUnpacked(path, signal), path === "-" ? STANDARD_INPUT : path, signal);
}

/** As {@link archiveFiles}, of a plain archive that is open. @param file closed with what is returned, and where that fails */
export async function openArchiveFiles(
  { fd, close }: { readonly fd: number; close(): void },
  title: string,
  signal?: AbortSignal,
): Promise<StoredFiles> {
  let members: ReadonlyMap<string, ArchiveMember>;
  try {
    members = await indexArchive(fd, title, signal);
  } catch (error) {
    close();
    throw error;
  }
  let closed = false;
  const resolved = (name: string) => resolveMember(members, name);
  const member = (name: string): ArchiveMember => {
    const found = resolved(name);
    if (found !== undefined) return found;
    throw missing(title, name);
  };
  return {
    title,
    has: (name) => resolved(name) !== undefined,
    open(name) {
      const { offset, size } = member(name);
      if (closed) throw new Error(`${title} is closed`);
      return { fd, offset, size, close: () => undefined };
    },
    pathOf: () => undefined,
    placeOf: (name) => String(resolved(name)?.offset ?? name),
    close() {
      if (closed) return;
      closed = true;
      close();
    },
  };
}

function missing(title: string, name: string): OciNixError {
  return new OciNixError("invalid-input", `${title} holds no file ${JSON.stringify(name)}`, {
    hint: "the image is incomplete: write or fetch it again",
  });
}

/** Old `docker save` archives share layers by symlinks, others by hard links. */
function resolveMember(members: ReadonlyMap<string, ArchiveMember>, name: string): ArchiveMember | undefined {
  let at = memberName(name);
  for (let hops = 0; hops < 10; hops++) {
    const member = members.get(at);
    if (member === undefined || member.type === "file") return member;
    if (member.type === "symlink") at = join(at, "..", member.linkTarget);
    else if (member.type === "link") at = memberName(member.linkTarget);
    else return undefined;
  }
  return undefined;
}

/** containerd and Docker refuse larger JSON documents. */
export const MAX_JSON = 20 * 1024 * 1024;
/** Of all documents of a medium: more is no image any more, and would be held in memory. */
const MAX_ALL_JSON = 256 * 1024 * 1024;

/** Reads the small files of a medium, each once. */
export class DocumentReader {
  readonly files: StoredFiles;
  readonly #known = new Map<string, Buffer>();
  #total = 0;

  constructor(files: StoredFiles) {
    this.files = files;
  }

  /** @throws OciNixError `limit` for one that is too large */
  bytes(name: string): Buffer {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const where = `${this.files.title}: ${name}`;
    const file = this.files.open(name);
    try {
      if (file.size > MAX_JSON) throw new OciNixError("limit", `${where} is larger than ${MAX_JSON} bytes`);
      this.#total += file.size;
      if (this.#total > MAX_ALL_JSON) {
        throw new OciNixError(
          "limit",
          `${this.files.title}: manifests and configs are more than ${MAX_ALL_JSON} bytes`,
        );
      }
      const bytes = readRange(file.fd, file, where);
      this.#known.set(name, bytes);
      return bytes;
    } finally {
      file.close();
    }
  }

  /** @throws OciNixError `invalid-input` where it is no JSON */
  json(name: string): Json {
    return parseDocument(this.bytes(name), `${this.files.title}: ${name}`);
  }

  /** A blob of an OCI layout. @throws OciNixError `verification` where it is not what its descriptor says */
  blob(descriptor: Descriptor): Buffer {
    const name = blobName(descriptor.digest);
    const bytes = this.bytes(name);
    checkDocument(bytes, descriptor, `${this.files.title}: ${name}`);
    return bytes;
  }
}

/** Of all images together; images have up to 127. */
const MAX_LAYERS = 100_000;

/** @throws OciNixError `limit` */
export function checkLayerCount(count: number, title: string): void {
  if (count > MAX_LAYERS) throw new OciNixError("limit", `${title}: the images have more than ${MAX_LAYERS} layers`);
}

/** Where an OCI layout keeps a blob. */
export function blobName(digest: Digest): string {
  return `blobs/${digest.replace(":", "/")}`;
}

/** @throws OciNixError `invalid-input` where the bytes are no JSON in UTF-8; a byte order mark is none, as for Go */
export function parseDocument(bytes: Uint8Array, where: string): Json {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new OciNixError("invalid-input", `${where} is not valid JSON: it begins with a byte order mark`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new OciNixError("invalid-input", `${where} is not text in UTF-8`, { cause: error });
  }
  const value = parseJson(text, where, (key) => {
    throw twoReadings(where, key, key);
  });
  checkOneReading(value, where);
  return value;
}

/**
 * Programs in Go, as most clients are, do not tell members apart by case, and take the last one.
 * @throws OciNixError `verification` where they would read something else
 */
function checkOneReading(value: Json, where: string, isFree = false): void {
  if (Array.isArray(value)) for (const item of value as readonly Json[]) checkOneReading(item, where);
  if (!isJsonObject(value)) return;
  const seen = new Map<string, string>();
  for (const [key, item] of value) {
    const folded = foldCase(key);
    const other = seen.get(folded);
    if (other !== undefined && !isFree) throw twoReadings(where, other, key);
    seen.set(folded, key);
    checkOneReading(item, where, FREE_NAMES.has(folded));
  }
}

/** Objects whose members people name. */
const FREE_NAMES: ReadonlySet<string> = new Set(["annotations", "exposedports", "labels", "volumes"]);

/** As Go's encoding/json does, for which two letters beyond ASCII are k and s. */
function foldCase(key: string): string {
  return key.replaceAll("\u212a", "k").replaceAll("\u017f", "s").toLowerCase();
}

function twoReadings(where: string, one: string, other: string): OciNixError {
  const names =
    one === other ? `${JSON.stringify(one)} twice` : `both ${JSON.stringify(one)} and ${JSON.stringify(other)}`;
  return new OciNixError("verification", `${where} has ${names}: programs differ in which they read`, {
    hint: "it may be made to look like another image than it is: write the image anew",
  });
}

/** @throws OciNixError `verification` where the bytes are not what the descriptor says */
export function checkDocument(bytes: Uint8Array, descriptor: Pick<Descriptor, "digest" | "size">, where: string): void {
  const actual = bytes.length === descriptor.size ? sha256(bytes) : undefined;
  if (actual === descriptor.digest) return;
  const found = actual ?? `${bytes.length} bytes long, not ${descriptor.size}`;
  throw new OciNixError("verification", `${where} is ${found}`, {
    hint: "the image is damaged: write or fetch it again",
  });
}
