import type { ByteString } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { TarEntry } from "../tar/entries.js";
import type { StoredLayer } from "../transport/image.js";
import { entryPath, MAX_PATH, parentsOf, whiteoutOf } from "./entry-path.js";
import { MAX_ENTRIES, readSoundLayer } from "./layer.js";

/** A file, directory or the like as an image has it. */
export interface FileState {
  readonly type: TarEntry["type"];
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly linkName: ByteString;
  /** `MAJOR:MINOR` of a device, else empty. */
  readonly device: string;
  /** Names and values, sorted, as one text. */
  readonly xattrs: ByteString;
  /** SHA-256 of a file's contents: 32 bytes; else empty. */
  readonly contents: ByteString;
}

/** What a layer does, as far as somebody wants to know: first it hides, then it adds. */
export interface LayerFiles {
  /** Paths that are hidden with all below them. */
  readonly hiddenPaths: ReadonlySet<ByteString>;
  /** Directories whose contents are hidden. */
  readonly hiddenContents: ReadonlySet<ByteString>;
  /** Later entries win; `undefined` is a directory that has no entry of its own but something in it. */
  readonly files: ReadonlyMap<ByteString, FileState | undefined>;
}

/** Which paths of a layer matter. */
export interface Interest {
  /** The path itself, or all that lies in it. */
  has(path: ByteString): boolean;
  /** Something that matters may lie in it. */
  hasBelow(path: ByteString): boolean;
}

export const everything: Interest = { has: () => true, hasBelow: () => true };

/**
 * Reads what a layer does to the paths that matter.
 * @throws OciNixError `verification` where the layer is not what was recorded; `invalid-input` where it is no tar; `limit`
 */
export async function readLayerFiles(
  layer: StoredLayer,
  interest: Interest,
  title: string,
  signal: AbortSignal | undefined,
): Promise<LayerFiles> {
  const first = new FilesReader(interest);
  await first.read(layer, title, signal);
  if (first.missingTargets.size === 0) return first;
  // A hard link that matters has its contents elsewhere in the layer.
  const targets = first.missingTargets;
  const second = new FilesReader({
    has: (path) => targets.has(path) || interest.has(path),
    hasBelow: (path) => interest.hasBelow(path),
  });
  await second.read(layer, title, signal);
  for (const path of targets) if (!interest.has(path)) second.files.delete(path);
  return second;
}

class FilesReader implements LayerFiles {
  readonly hiddenPaths = new Set<ByteString>();
  readonly hiddenContents = new Set<ByteString>();
  readonly files = new Map<ByteString, FileState | undefined>();
  /** Targets of hard links that matter, which do not matter themselves. */
  readonly missingTargets = new Set<ByteString>();
  readonly #interest: Interest;
  #title = "";
  #path: ByteString | undefined;
  #lastParent = "";
  #count = 0;

  constructor(interest: Interest) {
    this.#interest = interest;
  }

  async read(layer: StoredLayer, title: string, signal: AbortSignal | undefined): Promise<void> {
    this.#title = title;
    const visitor = {
      open: (entry: TarEntry) => {
        if (++this.#count > MAX_ENTRIES) throw new OciNixError("limit", `${title} has more entries than are taken`);
        return this.#open(entry);
      },
      close: (entry: TarEntry, sha256: ByteString | undefined) => this.#close(entry, sha256),
    };
    await readSoundLayer(layer, visitor, title, signal);
  }

  #open(entry: TarEntry): boolean {
    this.#path = undefined;
    const path = entryPath(entry.name);
    if (path === undefined) return false;
    if (path.length > MAX_PATH) {
      throw new OciNixError("limit", `${this.#title} has a name of ${path.length} bytes, more than Linux takes`, {
        hint: "oci-nix validate says more about the image",
      });
    }
    const whiteout = whiteoutOf(path);
    if (whiteout !== undefined) {
      if (whiteout.hides === "contents") this.#hide(this.hiddenContents, whiteout.path);
      if (whiteout.hides === "path") this.#hide(this.hiddenPaths, whiteout.path);
      return false;
    }
    this.#noteParents(path);
    if (this.#interest.has(path) || (this.#interest.hasBelow(path) && entry.type !== "directory")) {
      this.#path = path;
      return entry.type === "file";
    }
    if (this.#interest.hasBelow(path) && !this.files.has(path)) this.files.set(path, undefined);
    return false;
  }

  #hide(hidden: Set<ByteString>, path: ByteString): void {
    if (this.#interest.has(path) || this.#interest.hasBelow(path)) hidden.add(path);
  }

  /** Directories are there as soon as something lies in them. */
  #noteParents(path: ByteString): void {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    if (parent === this.#lastParent) return;
    this.#lastParent = parent;
    for (const at of parentsOf(path)) {
      if (!this.files.has(at) && (this.#interest.has(at) || this.#interest.hasBelow(at))) this.files.set(at, undefined);
    }
  }

  #close(entry: TarEntry, sha256: ByteString | undefined): void {
    const path = this.#path;
    if (path === undefined) return;
    let state = stateOf(entry, sha256);
    if (entry.type === "link") {
      const target = entryPath(entry.linkName);
      const linked = target === undefined ? undefined : this.files.get(target);
      // A link is the file that it links to; whatever else its own header says is not used.
      if (linked !== undefined) state = linked;
      else if (target !== undefined && !this.#interest.has(target)) this.missingTargets.add(target);
    }
    // Of a path that is there twice the last counts, at its own place.
    this.files.delete(path);
    this.files.set(path, state);
  }
}

function stateOf(entry: TarEntry, sha256: ByteString | undefined): FileState {
  const { type, mode, uid, gid, size, mtime, linkName, devMajor, devMinor, xattrs } = entry;
  return {
    type,
    mode,
    uid,
    gid,
    size,
    mtime,
    linkName,
    device: type === "character" || type === "block" ? `${devMajor}:${devMinor}` : "",
    xattrs: [...(xattrs ?? [])]
      .map(([key, value]) => `${key}=${value}\0`)
      .sort()
      .join(""),
    contents: sha256 ?? "",
  };
}
