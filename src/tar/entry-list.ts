import { type ByteString, isAscii } from "../core/byte-string.js";

export type EntryType = "file" | "directory" | "symlink";

export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  /** UTF-8. */
  readonly uname: ByteString;
  readonly gname: ByteString;
}

/** One file system object to be written to a tar; time belongs to the profile's options, not to an entry. */
export interface TarEntry {
  /** Relative, without a slash at either end; empty for the root directory. */
  readonly path: ByteString;
  readonly type: EntryType;
  /** st_mode & 07777; 0777 for a symlink, whatever its file system says. */
  readonly mode: number;
  readonly owner: Ownership;
  /** Bytes of a file's contents; 0 for everything else. */
  readonly size: number;
  /** A symlink's target; empty for everything else. */
  readonly linkTarget: ByteString;
  /** Where the contents of a file are read. */
  readonly source: ByteString;
  /** Path and link target are ASCII, and the link target fits the 100 bytes that ustar has for it. */
  readonly hasPlainNames: boolean;
}

const MAX_PLAIN_LINK = 100;

/** What is appended: the place in the tree is the depth and the entry's own name, so nothing is stored twice. */
export interface NewEntry {
  /** Directories above it, counted from the first entry's level (0). Its parent is the last directory appended one level up. */
  readonly depth: number;
  readonly name: ByteString;
  readonly type: EntryType;
  readonly mode: number;
  readonly owner: Ownership;
  readonly size: number;
  readonly linkTarget: ByteString;
  /** Where it is read, if not at its parent's source followed by its name. */
  readonly source?: ByteString;
}

/** An {@link EntryList} as it crosses to another thread. */
export interface EntryListParts {
  readonly count: number;
  readonly owners: readonly Ownership[];
  readonly chunks: readonly SharedArrayBuffer[];
  readonly chunkLengths: readonly number[];
}

const FIRST_CHUNK = 1 << 14;
const LAST_CHUNK = 1 << 20;
const FIXED = 26;
/** Bits of a record's second byte. */
const OWN_SOURCE = 1;
const PLAIN_NAMES = 2;
const ASCII_SOURCE = 4;
const TYPES: readonly EntryType[] = ["file", "directory", "symlink"];

/**
 * Tar entries in the order of the archive, a directory before what is in it.
 *
 * Kept as packed bytes, about 26 and its name an entry, because a layer may hold a million: the sizes must be known before the first
 * byte of the layer goes out, and this is what is held in between. Append only; {@link EntryCursor} replays it. The memory is shared,
 * so that other threads replay it too ({@link parts}).
 */
export class EntryList {
  /** Number of entries. */
  count = 0;
  readonly chunks: Buffer[] = [];
  readonly chunkLengths: number[] = [];
  readonly owners: Ownership[] = [];
  readonly #ownerIndex = new Map<string, number>();
  /** For each level, of the last directory there: whether its path and its source are ASCII. */
  readonly #asciiPaths: boolean[] = [];
  readonly #asciiSources: boolean[] = [];
  #lastOwner: Ownership | undefined;
  #lastOwnerIndex = 0;

  /** @param owners owners known beforehand: lists made with the same ones, and no others, can be joined */
  constructor(owners: readonly Ownership[] = []) {
    for (const owner of owners) this.#indexOf(owner);
  }

  /** Bytes of memory in use. */
  get byteLength(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  append(entry: NewEntry): void {
    const source = entry.source ?? "";
    const length = FIXED + entry.name.length + entry.linkTarget.length + source.length;
    let chunk = this.chunks[this.chunks.length - 1];
    let at = this.chunkLengths[this.chunks.length - 1] ?? 0;
    if (chunk === undefined || at + length > chunk.length) {
      const usual = Math.min(LAST_CHUNK, FIRST_CHUNK << Math.min(this.chunks.length, 6));
      chunk = Buffer.from(new SharedArrayBuffer(Math.max(usual, length)));
      this.chunks.push(chunk);
      this.chunkLengths.push(0);
      at = 0;
    }
    chunk[at] = TYPES.indexOf(entry.type);
    chunk[at + 1] = this.#flagsOf(entry);
    chunk.writeUInt16LE(entry.mode, at + 2);
    chunk.writeUInt16LE(this.#indexOf(entry.owner), at + 4);
    chunk.writeUInt16LE(entry.depth, at + 6);
    chunk.writeDoubleLE(entry.size, at + 8);
    chunk.writeUInt16LE(entry.name.length, at + 16);
    chunk.writeUInt32LE(entry.linkTarget.length, at + 18);
    chunk.writeUInt32LE(source.length, at + 22);
    let text = at + FIXED;
    for (const part of [entry.name, entry.linkTarget, source]) {
      chunk.write(part, text, part.length, "latin1");
      text += part.length;
    }
    this.chunkLengths[this.chunks.length - 1] = text;
    this.count++;
  }

  #flagsOf({ depth, name, type, linkTarget, source }: NewEntry): number {
    const nested = depth > 0;
    const asciiName = isAscii(name);
    const asciiPath = asciiName && (!nested || (this.#asciiPaths[depth - 1] as boolean));
    const asciiSource =
      source === undefined ? asciiName && (!nested || (this.#asciiSources[depth - 1] as boolean)) : isAscii(source);
    if (type === "directory") {
      this.#asciiPaths[depth] = asciiPath;
      this.#asciiSources[depth] = asciiSource;
    }
    const plain = asciiPath && linkTarget.length <= MAX_PLAIN_LINK && isAscii(linkTarget);
    return (source === undefined ? 0 : OWN_SOURCE) | (plain ? PLAIN_NAMES : 0) | (asciiSource ? ASCII_SOURCE : 0);
  }

  /** What another thread needs to replay the list: shared memory, nothing is copied. Append nothing afterwards. */
  get parts(): EntryListParts {
    return {
      count: this.count,
      owners: this.owners,
      chunks: this.chunks.map((chunk) => chunk.buffer as SharedArrayBuffer),
      chunkLengths: this.chunkLengths,
    };
  }

  /** One list out of several made with the same owners; each begins at the first level. */
  static join(lists: readonly EntryListParts[]): EntryList {
    const joined = new EntryList();
    for (const { count, owners, chunks, chunkLengths } of lists) {
      if (joined.owners.length === 0) joined.owners.push(...owners);
      else if (joined.owners.length !== owners.length) throw new Error("lists with other owners cannot be joined");
      joined.count += count;
      joined.chunks.push(...chunks.map((chunk) => Buffer.from(chunk)));
      joined.chunkLengths.push(...chunkLengths);
    }
    return joined;
  }

  #indexOf(owner: Ownership): number {
    if (owner === this.#lastOwner) return this.#lastOwnerIndex;
    const key = JSON.stringify([owner.uid, owner.gid, owner.uname, owner.gname]);
    let index = this.#ownerIndex.get(key);
    if (index === undefined) {
      index = this.owners.push(owner) - 1;
      this.#ownerIndex.set(key, index);
    }
    this.#lastOwner = owner;
    this.#lastOwnerIndex = index;
    return index;
  }
}

/** Walks an {@link EntryList} from the start; its own fields are the current entry, overwritten by {@link next}. */
export class EntryCursor implements TarEntry {
  path: ByteString = "";
  type: EntryType = "directory";
  mode = 0;
  owner: Ownership = { uid: 0, gid: 0, uname: "", gname: "" };
  size = 0;
  linkTarget: ByteString = "";
  source: ByteString = "";
  hasPlainNames = false;
  /** The source is ASCII, so that `fs` calls take it as it is. */
  hasAsciiSource = false;
  readonly #list: EntryList;
  readonly #pathPrefixes: ByteString[] = [];
  readonly #sourcePrefixes: ByteString[] = [];
  #chunk = 0;
  #at = 0;

  constructor(list: EntryList) {
    this.#list = list;
  }

  /** Moves to the next entry; false at the end. */
  next(): boolean {
    let chunk = this.#list.chunks[this.#chunk];
    if (chunk === undefined) return false;
    if (this.#at === this.#list.chunkLengths[this.#chunk]) {
      chunk = this.#list.chunks[++this.#chunk];
      if (chunk === undefined) return false;
      this.#at = 0;
    }
    const at = this.#at;
    this.type = TYPES[chunk[at] as number] as EntryType;
    const flags = chunk[at + 1] as number;
    this.hasPlainNames = (flags & PLAIN_NAMES) !== 0;
    this.hasAsciiSource = (flags & ASCII_SOURCE) !== 0;
    this.mode = chunk.readUInt16LE(at + 2);
    this.owner = this.#list.owners[chunk.readUInt16LE(at + 4)] as Ownership;
    const depth = chunk.readUInt16LE(at + 6);
    this.size = chunk.readDoubleLE(at + 8);
    const nameEnd = at + FIXED + chunk.readUInt16LE(at + 16);
    const linkEnd = nameEnd + chunk.readUInt32LE(at + 18);
    const sourceEnd = linkEnd + chunk.readUInt32LE(at + 22);
    const name = chunk.toString("latin1", at + FIXED, nameEnd);
    this.linkTarget = linkEnd === nameEnd ? "" : chunk.toString("latin1", nameEnd, linkEnd);
    this.path = depth === 0 ? name : (this.#pathPrefixes[depth - 1] as string) + name;
    this.source =
      (flags & OWN_SOURCE) !== 0
        ? chunk.toString("latin1", linkEnd, sourceEnd)
        : depth === 0
          ? name
          : (this.#sourcePrefixes[depth - 1] as string) + name;
    if (this.type === "directory") {
      this.#pathPrefixes[depth] = this.path === "" ? "" : `${this.path}/`;
      this.#sourcePrefixes[depth] = `${this.source}/`;
    }
    this.#at = sourceEnd;
    return true;
  }
}
