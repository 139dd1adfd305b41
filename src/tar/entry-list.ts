import { type ByteString, isAscii } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { Device } from "../core/generated-object.js";
import type { Ownership } from "../core/ownership.js";

export type { Ownership };

export type EntryType = "file" | "directory" | "symlink" | SpecialType;
type SpecialType = "character" | "block" | "fifo";

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
  /** Of a character or block device. */
  readonly device?: Device | undefined;
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
  readonly source?: ByteString | undefined;
  /** A file's contents, of the given size, where they are read nowhere. */
  readonly contents?: Uint8Array | undefined;
  /** Of a character or block device. */
  readonly device?: Device | undefined;
}

/** An {@link EntryList} as it crosses to another thread. */
export interface EntryListParts {
  readonly count: number;
  /** Whether whoever made the list found nothing in it that may be otherwise at another time. */
  readonly isSettled: boolean;
  readonly owners: readonly Ownership[];
  readonly chunks: readonly SharedArrayBuffer[];
  readonly chunkLengths: readonly number[];
}

const FIRST_CHUNK = 1 << 14;
const LAST_CHUNK = 1 << 20;
/**
 * A record: flags (1 byte), mode (2), index of the owner (2), depth (2), length of the name (2); then, where the flags say so, the size
 * (6), the length of the link target (4) and that of the source (4); then name, link target and source or contents.
 */
const FIXED = 9;
/** Of the flags, the lowest two bits are the type. Of what is {@link SPECIAL} the rest stands where a link target would. */
const TYPE_MASK = 3;
const SPECIAL = 3;
const PLAIN_NAMES = 4;
const ASCII_SOURCE = 8;
const HAS_SIZE = 16;
const HAS_LINK = 32;
const OWN_SOURCE = 64;
/** The contents stand where the source would: where `OWN_SOURCE` is set, too. */
const CONTENTS = 128;
const SIZE_BYTES = 6;
const LENGTH_BYTES = 4;
const TYPES: readonly EntryType[] = ["file", "directory", "symlink"];
const SPECIAL_TYPES: readonly SpecialType[] = ["character", "block", "fifo"];

/**
 * Tar entries in the order of the archive, a directory before what is in it.
 *
 * Kept as packed bytes, at most 23 and its texts an entry, because a layer may hold a million: the sizes must be known before the first
 * byte of the layer goes out, and this is what is held in between. Append only; {@link EntryCursor} replays it. The memory is shared,
 * so that other threads replay it too ({@link parts}).
 */
export class EntryList {
  /** Number of entries. */
  count = 0;
  /** See {@link EntryListParts}; to be cleared by whoever appends such an entry. */
  isSettled = true;
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
    const { name, source = "", contents } = entry;
    const linkTarget = isSpecial(entry.type) ? formatSpecial(entry.type, entry.device) : entry.linkTarget;
    if (contents !== undefined && contents.length !== entry.size) throw new Error("contents of another size");
    const flags = this.#flagsOf(entry, linkTarget);
    const sourceLength = contents?.length ?? source.length;
    const length = FIXED + optionalLength(flags) + name.length + linkTarget.length + sourceLength;
    let chunk = this.chunks[this.chunks.length - 1];
    let at = this.chunkLengths[this.chunks.length - 1] ?? 0;
    if (chunk === undefined || at + length > chunk.length) {
      const usual = Math.min(LAST_CHUNK, FIRST_CHUNK << Math.min(this.chunks.length, 6));
      chunk = Buffer.from(new SharedArrayBuffer(Math.max(usual, length)));
      this.chunks.push(chunk);
      this.chunkLengths.push(0);
      at = 0;
    }
    this.chunkLengths[this.chunks.length - 1] = at + length;
    this.count++;
    chunk[at] = flags;
    chunk.writeUInt16LE(entry.mode, at + 1);
    chunk.writeUInt16LE(this.#indexOf(entry.owner), at + 3);
    chunk.writeUInt16LE(entry.depth, at + 5);
    chunk.writeUInt16LE(name.length, at + 7);
    at += FIXED;
    if (flags & HAS_SIZE) at = chunk.writeUIntLE(entry.size, at, SIZE_BYTES);
    if (flags & HAS_LINK) at = chunk.writeUInt32LE(linkTarget.length, at);
    if (flags & OWN_SOURCE) at = chunk.writeUInt32LE(sourceLength, at);
    at += chunk.write(name, at, name.length, "latin1");
    if (flags & HAS_LINK) at += chunk.write(linkTarget, at, linkTarget.length, "latin1");
    if (contents !== undefined) chunk.set(contents, at);
    else if (flags & OWN_SOURCE) chunk.write(source, at, source.length, "latin1");
  }

  #flagsOf({ depth, name, type, size, source, contents }: NewEntry, linkTarget: ByteString): number {
    const nested = depth > 0;
    const asciiName = isAscii(name);
    const asciiPath = asciiName && (!nested || (this.#asciiPaths[depth - 1] as boolean));
    const asciiSource =
      source === undefined ? asciiName && (!nested || (this.#asciiSources[depth - 1] as boolean)) : isAscii(source);
    if (type === "directory") {
      this.#asciiPaths[depth] = asciiPath;
      this.#asciiSources[depth] = asciiSource;
    }
    const code = TYPES.indexOf(type);
    // Only what is special has no code of its own.
    const plain = code !== -1 && asciiPath && linkTarget.length <= MAX_PLAIN_LINK && isAscii(linkTarget);
    return (
      (code & TYPE_MASK) |
      (plain ? PLAIN_NAMES : 0) |
      (asciiSource ? ASCII_SOURCE : 0) |
      (size === 0 ? 0 : HAS_SIZE) |
      (linkTarget === "" ? 0 : HAS_LINK) |
      (source === undefined && contents === undefined ? 0 : OWN_SOURCE) |
      (contents === undefined ? 0 : CONTENTS)
    );
  }

  /** What another thread needs to replay the list: shared memory, nothing is copied. Append nothing afterwards. */
  get parts(): EntryListParts {
    return {
      count: this.count,
      isSettled: this.isSettled,
      owners: this.owners,
      chunks: this.chunks.map((chunk) => chunk.buffer as SharedArrayBuffer),
      chunkLengths: this.chunkLengths,
    };
  }

  /** One list out of several made with the same owners; each begins at the first level. */
  static join(lists: readonly EntryListParts[]): EntryList {
    const joined = new EntryList();
    for (const { count, isSettled, owners, chunks, chunkLengths } of lists) {
      if (joined.owners.length === 0) joined.owners.push(...owners);
      else if (joined.owners.length !== owners.length) throw new Error("lists with other owners cannot be joined");
      joined.count += count;
      joined.isSettled &&= isSettled;
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

function optionalLength(flags: number): number {
  return (
    (flags & HAS_SIZE ? SIZE_BYTES : 0) +
    (flags & HAS_LINK ? LENGTH_BYTES : 0) +
    (flags & OWN_SOURCE ? LENGTH_BYTES : 0)
  );
}

function isSpecial(type: EntryType): type is SpecialType {
  return type !== "file" && type !== "directory" && type !== "symlink";
}

/** Largest number that a tar header holds for a device. */
const MAX_DEVICE = 8 ** 7 - 1;

/** @throws OciNixError `unsupported` for a device that no archive can name */
function formatSpecial(type: SpecialType, { major, minor }: Device = { major: 0, minor: 0 }): string {
  if (major > MAX_DEVICE || minor > MAX_DEVICE) {
    throw new OciNixError("unsupported", `a layer cannot hold a device with the numbers ${major}, ${minor}`);
  }
  return `${SPECIAL_TYPES.indexOf(type)},${major},${minor}`;
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
  /** The contents themselves, where they are read nowhere. */
  contents: Uint8Array | undefined;
  hasPlainNames = false;
  device: Device | undefined;
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
    let at = this.#at;
    const flags = chunk[at] as number;
    this.type = TYPES[flags & TYPE_MASK] as EntryType;
    this.hasPlainNames = (flags & PLAIN_NAMES) !== 0;
    this.hasAsciiSource = (flags & ASCII_SOURCE) !== 0;
    this.mode = chunk.readUInt16LE(at + 1);
    this.owner = this.#list.owners[chunk.readUInt16LE(at + 3)] as Ownership;
    const depth = chunk.readUInt16LE(at + 5);
    const nameLength = chunk.readUInt16LE(at + 7);
    at += FIXED;
    this.size = flags & HAS_SIZE ? chunk.readUIntLE(at, SIZE_BYTES) : 0;
    const nameAt = at + optionalLength(flags);
    if (flags & HAS_SIZE) at += SIZE_BYTES;
    const linkLength = flags & HAS_LINK ? chunk.readUInt32LE(at) : 0;
    if (flags & HAS_LINK) at += LENGTH_BYTES;
    const sourceLength = flags & OWN_SOURCE ? chunk.readUInt32LE(at) : 0;
    const linkAt = nameAt + nameLength;
    const sourceAt = linkAt + linkLength;
    const name = chunk.toString("latin1", nameAt, linkAt);
    this.linkTarget = linkLength === 0 ? "" : chunk.toString("latin1", linkAt, sourceAt);
    this.path = depth === 0 ? name : (this.#pathPrefixes[depth - 1] as string) + name;
    this.contents = flags & CONTENTS ? chunk.subarray(sourceAt, sourceAt + sourceLength) : undefined;
    this.source =
      (flags & (OWN_SOURCE | CONTENTS)) === OWN_SOURCE
        ? chunk.toString("latin1", sourceAt, sourceAt + sourceLength)
        : depth === 0
          ? name
          : (this.#sourcePrefixes[depth - 1] as string) + name;
    if ((flags & TYPE_MASK) === SPECIAL) this.#readSpecial();
    if (this.type === "directory") {
      this.#pathPrefixes[depth] = this.path === "" ? "" : `${this.path}/`;
      this.#sourcePrefixes[depth] = `${this.source}/`;
    }
    this.#at = sourceAt + sourceLength;
    return true;
  }

  #readSpecial(): void {
    const [type, major, minor] = this.linkTarget.split(",").map(Number) as [number, number, number];
    this.type = SPECIAL_TYPES[type] as SpecialType;
    this.linkTarget = "";
    // Read only where the type says so, so that it need not be cleared for every other entry.
    this.device = { major, minor };
  }
}
