import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, displayBytes, encodeUtf8 } from "../../core/byte-string.js";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { openForReading, readPieces } from "../../core/file-range.js";
import type { Device } from "../../core/generated-object.js";
import { sameContents } from "../../core/same-contents.js";
import { TarEntries, type TarEntry, type TarVisitor } from "../../tar/entries.js";
import { EntryCursor, type EntryList, type EntryType, type Ownership } from "../../tar/entry-list.js";
import { LOST_AND_FOUND } from "../ext4/plan.js";
import { CHANGES } from "./init.js";
import { byComponent, entryAt, entryListOf, type TreeEntry } from "./tree-entries.js";

/** Something that is new in a tree, or otherwise than it was. */
export interface ChangedEntry {
  /** As of a `TarEntry` of a layer. */
  readonly path: ByteString;
  readonly type: EntryType;
  readonly mode: number;
  readonly owner: Ownership;
  readonly size: number;
  readonly linkTarget: ByteString;
  /** A file with the contents, empty for all but files. */
  readonly source: ByteString;
  readonly device?: Device | undefined;
}

/** How a tree became another one, by path component. Times count for nothing. */
export interface TreeChanges {
  /** With the directories above them, changed or not. */
  readonly entries: readonly ChangedEntry[];
  /** What is gone, with all that was in it. */
  readonly removed: readonly ByteString[];
}

/**
 * Reads the archive that init makes of what a job changed.
 * @param lower the root as it was before
 * @param directory for the contents of changed files, which stay there
 * @throws OciNixError `output` where there is no room for them; `invalid-input` for names that no layer can hold
 */
export async function readChanges(archive: string, lower: EntryList, directory: string): Promise<TreeChanges> {
  const { entries, names } = await readWritten(archive, directory);
  const wrong = [...entries.keys()].find((path) => path.startsWith(".wh.") || path.includes("/.wh."));
  if (wrong !== undefined) {
    const message = `the script made ${displayBytes(wrong)}: in a layer, .wh. before a name deletes it`;
    throw new OciNixError("invalid-input", message);
  }
  return compare(lower, { entries, names });
}

/** What a guest put into an archive. */
export interface WrittenTree {
  /** By path: what it put below {@link CHANGES.root}. A hard link is a file of its own. */
  readonly entries: ReadonlyMap<ByteString, ChangedEntry>;
  /** Names in directories that were written to. */
  readonly names: ReadonlySet<ByteString>;
}

/**
 * Reads a tar archive that a guest wrote to a disk, which may be empty.
 * @param directory a new one, for the contents of files, which stay there
 * @throws OciNixError `output` where there is no room for them; `invalid-input` for what is no archive
 */
export async function readWritten(archive: string, directory: string): Promise<WrittenTree> {
  const written = new Written(directory);
  const { fd, close } = openForReading(archive);
  try {
    const entries = new TarEntries(written, "what the virtual machine wrote");
    for await (const piece of readPieces(fd, archive)) {
      // The rest of a disk, which may be large.
      if (!written.isOpen && piece.every((byte) => byte === 0)) break;
      entries.write(piece);
    }
    entries.end();
  } finally {
    written.finish();
    close();
  }
  return written;
}

class Written implements TarVisitor, WrittenTree {
  readonly entries = new Map<ByteString, ChangedEntry>();
  names: ReadonlySet<ByteString> = new Set();
  isOpen = false;
  readonly #directory: string;
  readonly #listed: Buffer[] = [];
  readonly #gone = new Set<ByteString>();
  #isListing = false;
  #fd: number | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory);
  }

  open(entry: TarEntry): boolean {
    this.isOpen = true;
    const name = entry.name.replace(/\/$/, "");
    this.#isListing = name === CHANGES.names;
    if (this.#isListing) return false;
    const path = name === CHANGES.root ? "" : name.slice(CHANGES.root.length + 1);
    // Those that say that a name is gone are links of each other.
    const isDevice = entry.type === "character" && entry.devMajor === 0 && entry.devMinor === 0;
    if (isDevice || (entry.type === "link" && this.#gone.has(entry.linkName))) this.#gone.add(name);
    else if (path !== LOST_AND_FOUND) this.#add(path, entry);
    return false;
  }

  data(piece: Buffer): void {
    if (this.#isListing) this.#listed.push(Buffer.from(piece));
    if (this.#fd === undefined) return;
    try {
      for (let at = 0; at < piece.length; ) at += writeSync(this.#fd, piece, at);
    } catch (error) {
      throw noRoom(error);
    }
  }

  close(): void {
    this.isOpen = false;
    this.finish();
  }

  /** Closes what is open. */
  finish(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    if (!this.#isListing) return;
    const listed = Buffer.concat(this.#listed).toString("latin1").split("\0");
    this.names = new Set(listed.map((name) => name.replace(/^\.\//, "")));
    this.#isListing = false;
  }

  #add(path: ByteString, entry: TarEntry): void {
    const { type, mode, uid, gid, size, linkName, devMajor: major, devMinor: minor } = entry;
    if (type === "link") {
      const target = this.entries.get(linkName.slice(CHANGES.root.length + 1));
      if (target === undefined) throw new Error(`a hard link to what is not there: ${displayBytes(linkName)}`);
      this.entries.set(path, { ...target, path });
      return;
    }
    if (type === "other") throw new Error(`an entry of no known type: ${displayBytes(path)}`);
    this.entries.set(path, {
      path,
      type,
      mode: type === "symlink" ? 0o777 : mode,
      owner: { uid, gid, uname: "", gname: "" },
      size,
      linkTarget: linkName,
      source: type === "file" ? this.#newFile() : "",
      ...(type === "character" || type === "block" ? { device: { major, minor } } : {}),
    });
  }

  #newFile(): ByteString {
    const file = join(this.#directory, `${this.entries.size}`);
    try {
      this.#fd = openSync(file, "wx", 0o600);
    } catch (error) {
      throw noRoom(error);
    }
    return encodeUtf8(file);
  }
}

function noRoom(error: unknown): OciNixError {
  return new OciNixError("output", `cannot keep what the virtual machine wrote: ${describeErrno(error)}`, {
    hint: "it waits in TMPDIR, which needs room for it",
    cause: error,
  });
}

function compare(lower: EntryList, { entries, names }: WrittenTree): TreeChanges {
  const changed = new Set(entries.keys());
  const removed: ByteString[] = [];
  let hadRoot = false;
  const cursor = new EntryCursor(lower);
  while (cursor.next()) {
    const { path } = cursor;
    const now = entries.get(path);
    hadRoot ||= path === "";
    if (now !== undefined && isSame(cursor, now)) changed.delete(path);
    // Of what is removed as a whole, or was replaced by something else, only the uppermost counts.
    if (
      path !== "" &&
      path !== LOST_AND_FOUND &&
      !names.has(path) &&
      entries.get(parentOf(path))?.type === "directory"
    ) {
      removed.push(path);
    }
  }
  // The file system had one all the same.
  if (!hadRoot) changed.delete("");
  const kept = new Set<ByteString>();
  for (const path of [...changed, ...removed.map(parentOf)]) {
    for (let each = path; !kept.has(each) && (each !== "" || path === ""); each = parentOf(each)) kept.add(each);
  }
  const isRootChanged = changed.has("");
  const sorted = [...kept].filter((path) => path !== "" || isRootChanged).sort(byComponent);
  return { entries: sorted.map((path) => entries.get(path) as ChangedEntry), removed: removed.sort(byComponent) };
}

function isSame(before: EntryCursor, now: ChangedEntry): boolean {
  const { type, mode, owner, linkTarget, device } = before;
  return (
    type === now.type &&
    mode === now.mode &&
    owner.uid === now.owner.uid &&
    owner.gid === now.owner.gid &&
    linkTarget === now.linkTarget &&
    (now.device === undefined || (device?.major === now.device.major && device.minor === now.device.minor)) &&
    (type !== "file" || sameContents(before, now))
  );
}

interface LayerBelow {
  /** What the layer held before the changes, of which it keeps the rest; default: nothing. */
  readonly own?: EntryList | undefined;
  /** Whether a path is in the layers below: what is gone and is not there needs no whiteout. Default: all are. */
  readonly isBelow?: ((path: ByteString) => boolean) | undefined;
}

/** The changes as entries of a layer, by path component. What is gone of the layers below is a file with the prefix `.wh.`. */
export function layerOfChanges(changes: TreeChanges, { own, isBelow = () => true }: LayerBelow = {}): EntryList {
  const { entries, removed } = changes;
  const whiteouts = removed.filter(isBelow).map(whiteout);
  const kept = own === undefined ? [] : untouched(own, changes);
  return entryListOf([...kept, ...entries, ...whiteouts]);
}

/** What is neither changed nor gone, nor below something that is no directory any more. */
function untouched(list: EntryList, { entries, removed }: TreeChanges): readonly TreeEntry[] {
  const changed = new Set(entries.map(({ path }) => path));
  const hidden = new Set([...removed, ...entries.flatMap(({ path, type }) => (type === "directory" ? [] : [path]))]);
  const kept: TreeEntry[] = [];
  const cursor = new EntryCursor(list);
  while (cursor.next()) {
    const { path } = cursor;
    // A directory comes before what is in it.
    if (hidden.has(path) || hidden.has(parentOf(path))) hidden.add(path);
    else if (!changed.has(path)) kept.push(entryAt(cursor));
  }
  return kept;
}

function whiteout(path: ByteString): TreeEntry {
  const name = path.lastIndexOf("/") + 1;
  return {
    path: `${path.slice(0, name)}.wh.${path.slice(name)}`,
    type: "file",
    mode: 0o644,
    owner: { uid: 0, gid: 0, uname: "", gname: "" },
    size: 0,
    linkTarget: "",
    contents: new Uint8Array(),
  };
}

function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
