import type { ByteString } from "../core/byte-string.js";
import { displayBytes } from "../core/byte-string.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { parentOf, parentsOf } from "./entry-path.js";
import { type FileNode, FileSystem } from "./file-system.js";
import { everything, type FileState, type Interest, type LayerFiles, readLayerFiles } from "./layer-files.js";

/** A file that only one of two images has. */
export interface FileItem {
  /** From the root, as text for people: bytes that are no UTF-8 as `\xNN`. */
  readonly path: string;
  readonly type: FileState["type"];
  /** Bytes of a file; 0 for anything else. */
  readonly size: number;
}

/** What of a file is not the same. */
export type Attribute = "type" | "mode" | "owner" | "size" | "content" | "target" | "device" | "xattrs" | "mtime";

/** A file that two images have, and not the same. */
export interface FileChange {
  readonly path: string;
  readonly type: FileState["type"];
  readonly sizeBefore: number;
  readonly sizeAfter: number;
  /** Before and after as text; of contents their SHA-256. */
  readonly changes: readonly { readonly attribute: Attribute; readonly before: string; readonly after: string }[];
}

/** The files in which two images differ. */
export interface FilesDiff {
  /** In the second image only. */
  readonly added: readonly FileItem[];
  /** In the first image only. */
  readonly removed: readonly FileItem[];
  /** In both, and not the same. */
  readonly changed: readonly FileChange[];
}

/** What errors call two images that are compared. */
export const IMAGE_TITLES: readonly [string, string] = ["the first image", "the second image"];

/**
 * Compares the file systems that two images make. Layers in `ownOfA` and `ownOfB` are read whole; of the others, which both have in the
 * same order, counts only what those touch: all else is the same in both.
 * @param titles what errors call the images
 */
export async function diffFiles(
  a: StoredImage,
  b: StoredImage,
  ownOfA: ReadonlySet<number>,
  ownOfB: ReadonlySet<number>,
  signal: AbortSignal | undefined,
  [titleA, titleB]: readonly [string, string] = IMAGE_TITLES,
): Promise<FilesDiff> {
  const diff = { added: [] as FileItem[], removed: [] as FileItem[], changed: [] as FileChange[] };
  if (ownOfA.size === 0 && ownOfB.size === 0) return diff;
  const known = new Map<string, LayerFiles>();
  const read = async (image: StoredImage, i: number, which: string, interest: Interest): Promise<LayerFiles> => {
    const layer = image.layers[i] as StoredLayer;
    // A layer that moved is both images' own; one that is there twice may be read in both ways.
    const key = `${interest === everything} ${layer.diffId}`;
    const files = known.get(key) ?? (await readLayerFiles(layer, interest, `layer ${i + 1} of ${which}`, signal));
    known.set(key, files);
    return files;
  };
  const touched = new Touched();
  for (const i of ownOfA) touched.add(await read(a, i, titleA, everything));
  for (const i of ownOfB) touched.add(await read(b, i, titleB, everything));
  const systems: FileSystem[] = [];
  for (const [image, own, which] of [[a, ownOfA, titleA] as const, [b, ownOfB, titleB] as const]) {
    const system = new FileSystem();
    for (const i of image.layers.keys()) {
      system.apply(await read(image, i, which, own.has(i) ? everything : touched));
    }
    systems.push(system);
  }
  const [before, after] = systems as [FileSystem, FileSystem];
  compare("", before.root, after.root, diff);
  return diff;
}

/** The paths that layers touch, with all that they hide. */
class Touched implements Interest {
  readonly #paths = new Set<ByteString>();
  readonly #above = new Set<ByteString>();
  /** What matters with all that lies in it, as it may hide that. */
  readonly #covers = new Set<ByteString>();
  #lastParent = "";

  add({ hiddenPaths, hiddenContents, files }: LayerFiles): void {
    for (const path of [hiddenPaths, hiddenContents]) for (const hidden of path) this.#addCover(hidden);
    for (const [path, state] of files) {
      if (state === undefined) this.#above.add(path);
      else if (state.type === "directory") this.#addPath(path);
      else this.#addCover(path);
    }
  }

  has(path: ByteString): boolean {
    if (this.#paths.has(path) || this.#covers.has(path) || this.#covers.has("")) return true;
    for (const at of parentsOf(path)) if (this.#covers.has(at)) return true;
    return false;
  }

  hasBelow(path: ByteString): boolean {
    return this.#above.has(path) || path === "";
  }

  #addCover(path: ByteString): void {
    this.#covers.add(path);
    this.#addParents(path);
  }

  #addPath(path: ByteString): void {
    this.#paths.add(path);
    this.#addParents(path);
  }

  #addParents(path: ByteString): void {
    const parent = parentOf(path);
    if (parent === this.#lastParent) return;
    this.#lastParent = parent;
    for (const at of parentsOf(path)) this.#above.add(at);
  }
}

type Diff = { readonly added: FileItem[]; readonly removed: FileItem[]; readonly changed: FileChange[] };

function compare(path: ByteString, before: FileNode, after: FileNode, diff: Diff): void {
  const changes = changesOf(before.state, after.state);
  if (changes.length > 0) {
    diff.changed.push({
      path: shown(path || "/"),
      type: typeOf(after),
      sizeBefore: before.state?.size ?? 0,
      sizeAfter: after.state?.size ?? 0,
      changes,
    });
  }
  const names = new Set([...(before.children?.keys() ?? []), ...(after.children?.keys() ?? [])]);
  for (const name of [...names].sort()) {
    const child = `${path}/${name}`;
    const old = before.children?.get(name);
    const young = after.children?.get(name);
    if (old === undefined) list(child, young as FileNode, diff.added);
    else if (young === undefined) list(child, old, diff.removed);
    else compare(child, old, young, diff);
  }
}

function list(path: ByteString, node: FileNode, into: FileItem[]): void {
  into.push({ path: shown(path), type: typeOf(node), size: node.state?.size ?? 0 });
  for (const name of [...(node.children?.keys() ?? [])].sort()) {
    list(`${path}/${name}`, node.children?.get(name) as FileNode, into);
  }
}

/** Most names are their own text, and a million of them are to be quick. */
function shown(path: ByteString): string {
  return /^[ -~]*$/.test(path) ? path : displayBytes(path);
}

function typeOf({ state }: FileNode): FileState["type"] {
  return state?.type ?? "directory";
}

/** A directory without an entry of its own is as the engine makes it, so only its being a directory counts. */
function changesOf(before: FileState | undefined, after: FileState | undefined): FileChange["changes"] {
  if (before === undefined || after === undefined) {
    const [a, b] = [before?.type ?? "directory", after?.type ?? "directory"];
    return a === b ? [] : [{ attribute: "type", before: a, after: b }];
  }
  const [old, young] = [attributesOf(before), attributesOf(after)];
  return ATTRIBUTES.filter((attribute) => old[attribute] !== young[attribute]).map((attribute) => ({
    attribute,
    before: old[attribute],
    after: young[attribute],
  }));
}

const ATTRIBUTES = ["type", "mode", "owner", "size", "content", "target", "device", "xattrs", "mtime"] as const;

function attributesOf(state: FileState): Readonly<Record<Attribute, string>> {
  return {
    type: state.type,
    mode: state.type === "symlink" ? "" : state.mode.toString(8).padStart(4, "0"),
    owner: `${state.uid}:${state.gid}`,
    size: String(state.size),
    content: Buffer.from(state.contents, "latin1").toString("hex"),
    target: displayBytes(state.linkName),
    device: state.device,
    xattrs: displayBytes(state.xattrs),
    mtime: String(state.mtime),
  };
}
