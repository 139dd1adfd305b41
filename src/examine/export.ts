import { BlockWriter, type WriteProgress } from "../core/block-writer.js";
import type { ByteSink } from "../core/byte-sink.js";
import type { ByteString } from "../core/byte-string.js";
import { atPlace, OciNixError } from "../core/errors.js";
import { TarEntries, type TarEntry } from "../tar/entries.js";
import { entryHeader, type KeptEntry } from "../tar/entry-header.js";
import { BLOCK, padded } from "../tar/header.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { writeUnpacked } from "../transport/stored-layer.js";
import { shownName } from "./entry-path.js";
import { type Inode, LayerEntriesReader } from "./layer-entries.js";
import { RootFileSystem } from "./root-file-system.js";

/** How the root file system of an image is written. */
export interface ExportOptions {
  /** What errors call the image: its place. */
  readonly title?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told as the work goes on: which layer is read, and what has gone out. */
  readonly observer?:
    | {
        readonly progress: WriteProgress;
        onLayer(layer: {
          readonly title: string;
          readonly size: number;
          readonly index: number;
          readonly count: number;
        }): void;
      }
    | undefined;
}

/** The archive that {@link exportImage} wrote. */
export interface ExportSummary {
  /** Files, directories and all else that is in it. */
  readonly entries: number;
  /** Length of the archive. */
  readonly bytes: number;
}

/**
 * Writes the root file system of an image as one tar. Layers are read twice: first for what is in them, then, those alone that have
 * contents left, for the contents, which go through. Only names and attributes are kept in memory.
 *
 * Names begin with `./`. Directories come first, sorted by path; then files that have contents, in the order of the layers and as they lie
 * there; then all that has no contents of its own, sorted by path: empty files, symlinks, devices, and hard links to what came before.
 *
 * Nothing is written before all layers are verified.
 * @throws OciNixError `verification` or `invalid-input` where a layer is not what was recorded, or cannot be applied; `limit`; `unsupported`
 *   for an entry that cannot be written; `changed` where a layer is another one when it is read again; what the sink throws
 */
export async function exportImage(
  image: StoredImage,
  sink: ByteSink,
  { title: place, signal, observer }: ExportOptions = {},
): Promise<ExportSummary> {
  const { layers } = image;
  const root = new RootFileSystem();
  const reader = new LayerEntriesReader();
  const onLayer = (layer: StoredLayer, index: number) => {
    const { title, size } = layer.blob;
    observer?.onLayer({ title, size, index, count: layers.length });
  };
  for (const [index, layer] of layers.entries()) {
    onLayer(layer, index);
    const title = `layer ${index + 1}${place === undefined ? "" : ` of ${place}`}`;
    root.apply(await reader.read(layer, index, title, signal), title);
  }
  const { directories, contents, others, entries } =
    place === undefined ? settle(root) : atPlace(place, () => settle(root));
  const out = new BlockWriter(sink, { signal, ...(observer === undefined ? {} : { progress: observer.progress }) });
  const put = async (member: Member) => {
    out.progress.entries++;
    await out.put(headerOf(member));
  };
  for (const member of directories) await put(member);
  for (const [index, layer] of layers.entries()) {
    const wanted = contents.get(index);
    if (wanted === undefined) continue;
    onLayer(layer, index);
    await writeContents(layer, wanted, out, signal);
  }
  for (const member of others) await put(member);
  await out.putZeros(2 * BLOCK);
  await out.flush();
  return { entries, bytes: out.written };
}

/** An entry to be written. Its header is made when its turn comes, as there may be a million. */
interface Member {
  readonly name: ByteString;
  /** Undefined for a directory that no layer has an entry for. */
  readonly inode: Inode | undefined;
  /** What it is a hard link to; undefined for the first name of a file. */
  readonly target: ByteString | undefined;
}

/** What is to be written. */
interface Settled {
  readonly directories: readonly Member[];
  /** By layer, then by the index of the entry there. */
  readonly contents: ReadonlyMap<number, ReadonlyMap<number, Member>>;
  readonly others: readonly Member[];
  readonly entries: number;
}

/** @throws OciNixError `unsupported` */
function settle(root: RootFileSystem): Settled {
  const directories: Member[] = [];
  const contents = new Map<number, Map<number, Member>>();
  const others: Member[] = [];
  const names = new Map<Inode, ByteString>();
  let entries = 0;
  for (const [path, inode] of root.walk()) {
    // What no layer says of the root is nobody's to change where the archive is unpacked.
    if (path === "" && inode === undefined) continue;
    entries++;
    if (inode === undefined || inode.entry.type === "directory") {
      directories.push({ name: path === "" ? "./" : `./${path}/`, inode, target: undefined });
      continue;
    }
    checkWritable(inode.entry);
    const member = { name: `./${path}`, inode, target: names.get(inode) };
    if (member.target === undefined) names.set(inode, member.name);
    if (member.target !== undefined || inode.entry.size === 0) {
      others.push(member);
    } else {
      const ofLayer = contents.get(inode.layer) ?? new Map<number, Member>();
      contents.set(inode.layer, ofLayer.set(inode.index, member));
    }
  }
  return { directories, contents, others, entries };
}

function headerOf({ name, inode, target }: Member): Buffer {
  if (inode === undefined) return entryHeader({ ...IMPLIED, type: "directory", name });
  if (target === undefined) return entryHeader({ ...(inode.entry as KeptEntry), name });
  return entryHeader({ ...inode.entry, type: "link", name, linkName: target, size: 0, xattrs: undefined });
}

/** A directory that something lies in, but that no layer has an entry for. */
const IMPLIED: Omit<KeptEntry, "name" | "type"> = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  uname: "root",
  gname: "root",
  size: 0,
  mtime: 1,
  mtimeRecord: undefined,
  linkName: "",
  devMajor: 0,
  devMinor: 0,
  xattrs: undefined,
};

function checkWritable({ name, type, sparse }: TarEntry): void {
  if (sparse) {
    throw new OciNixError("unsupported", `${shownName(name)} is stored without its holes, which is not read`, {
      hint: "make the layer without tar's --sparse",
    });
  }
  if (type === "other") {
    throw new OciNixError("unsupported", `${shownName(name)} is of a type that is none of POSIX's`);
  }
}

/** Writes the entries of a layer that are wanted, as they go by. */
async function writeContents(
  layer: StoredLayer,
  wanted: ReadonlyMap<number, Member>,
  out: BlockWriter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { title } = layer.blob;
  const pieces: Uint8Array[] = [];
  let index = 0;
  let written = 0;
  let current: Member | undefined;
  const open = ({ type, size }: TarEntry): boolean => {
    current = wanted.get(index++);
    if (current === undefined) return false;
    if (type !== "file" || size !== current.inode?.entry.size) throw changed(title);
    written++;
    out.progress.entries++;
    pieces.push(headerOf(current));
    return false;
  };
  const data = (piece: Uint8Array): void => {
    if (current !== undefined) pieces.push(piece);
  };
  const close = ({ size }: TarEntry): void => {
    if (current !== undefined) pieces.push(ZEROS.subarray(0, padded(size) - size));
  };
  const entries = new TarEntries({ open, data, close }, title);
  const write = (bytes: Uint8Array): void | Promise<void> => {
    entries.write(bytes);
    return pieces.length === 0 ? undefined : drain();
  };
  const drain = async (): Promise<void> => {
    for (const piece of pieces) await (piece.length < PASSED ? out.put(piece) : out.pass(piece));
    pieces.length = 0;
  };
  await writeUnpacked(layer, { write }, { signal });
  entries.end();
  // What is held back until the archive ends: an entry's padding.
  await drain();
  if (written !== wanted.size) throw changed(title);
}

const ZEROS = Buffer.alloc(BLOCK);
/** Pieces of so many bytes are not copied. */
const PASSED = 1 << 14;

function changed(title: string): OciNixError {
  return new OciNixError("changed", `${title} is another layer when it is read again`);
}
