import type { ByteString } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { TarEntry } from "../tar/entries.js";
import type { StoredLayer } from "../transport/image.js";
import { entryPath, isTooLong, shownName, whiteoutOf } from "./entry-path.js";
import { deviceProblem, linkProblem, ownerProblem } from "./entry-problems.js";
import { invalidImage, MAX_ENTRIES, readSoundLayer } from "./layer.js";

/** What an entry stands for, and where its contents are. Names that are hard links of each other share it. */
export interface Inode {
  readonly entry: TarEntry;
  /** Index of the layer in the image. */
  readonly layer: number;
  /** Index of the entry in the layer. */
  readonly index: number;
}

/** All that a layer does to what is below it: first it hides, then it adds. */
export interface LayerEntries {
  /** Paths that are hidden with all below them. */
  readonly hiddenPaths: ReadonlySet<ByteString>;
  /** Directories whose contents are hidden. */
  readonly hiddenContents: ReadonlySet<ByteString>;
  /** In the order of the layer: a later one of the same path wins. A hard link's target is in its entry. */
  readonly entries: readonly { readonly path: ByteString; readonly inode: Inode }[];
}

/** Bytes of names, link targets and extended attributes that all layers of an image may have. */
const MAX_TEXT = 1 << 29;

/** Reads the entries of an image's layers, one layer after the other, and no contents. */
export class LayerEntriesReader {
  #text = 0;

  /**
   * @param index of the layer in the image
   * @throws OciNixError `verification` where the layer is not what was recorded; `invalid-input` where it is no tar or has an entry that
   *   no file can be; `limit` where it has absurdly many
   */
  async read(layer: StoredLayer, index: number, title: string, signal?: AbortSignal): Promise<LayerEntries> {
    const hiddenPaths = new Set<ByteString>();
    const hiddenContents = new Set<ByteString>();
    const entries: LayerEntries["entries"][number][] = [];
    let count = 0;
    const open = (entry: TarEntry): boolean => {
      const path = pathOf(entry, title);
      this.#text += textOf(entry);
      if (count === MAX_ENTRIES || this.#text > MAX_TEXT) {
        throw new OciNixError("limit", `${title} has more entries, or longer names and attributes, than are taken`);
      }
      const whiteout = whiteoutOf(path);
      if (whiteout === undefined) {
        const problem = ownerProblem(entry) ?? deviceProblem(entry);
        if (problem !== undefined) throw invalidImage(`${title}: ${problem}`);
        entries.push({ path, inode: { entry, layer: index, index: count } });
      } else if (whiteout.hides === "contents") {
        hiddenContents.add(whiteout.path);
      } else if (whiteout.hides === "path") {
        hiddenPaths.add(whiteout.path);
      } else if (whiteout.hides === "nothing" && !AUFS.test(path)) {
        throw invalidImage(`${title}: ${shownName(entry.name)} is no well-formed whiteout: ${whiteout.reason}`);
      }
      count++;
      return false;
    };
    await readSoundLayer(layer, { open, close: () => undefined }, title, signal);
    return { hiddenPaths, hiddenContents, entries };
  }
}

/** Old storage drivers left files of their own in layers, which are nobody's. */
const AUFS = /(^|\/)\.wh\.\.wh\.[^/]+(\/|$)/;

function pathOf(entry: TarEntry, title: string): ByteString {
  const { name } = entry;
  const path = entryPath(name);
  if (path === undefined) throw invalidImage(`${title}: ${shownName(name)} has a component ".."`);
  if (name === "" || name.includes("\0")) {
    throw invalidImage(`${title}: ${shownName(name) || "an entry without a name"}: no file can be called that`);
  }
  if (isTooLong(path)) throw invalidImage(`${title}: ${shownName(name)} is longer than Linux allows`);
  const problem = linkProblem(entry);
  if (problem !== undefined) throw invalidImage(`${title}: ${problem}`);
  return path;
}

function textOf({ name, linkName, uname, gname, xattrs }: TarEntry): number {
  let length = name.length + linkName.length + uname.length + gname.length;
  for (const [key, value] of xattrs ?? []) length += key.length + value.length;
  return length;
}
