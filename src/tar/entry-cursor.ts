import type { ByteString } from "../core/byte-string.js";
import type { Device } from "../core/generated-object.js";
import type { Ownership } from "../core/ownership.js";
import {
  ASCII_SOURCE,
  CONTENTS,
  type EntryType,
  FIXED,
  HAS_LINK,
  HAS_SIZE,
  LENGTH_BYTES,
  OWN_SOURCE,
  optionalLength,
  type PackedEntries,
  PLAIN_NAMES,
  SIZE_BYTES,
  SPECIAL,
  SPECIAL_TYPES,
  type SpecialType,
  TYPE_MASK,
  TYPES,
  type Xattrs,
} from "./entry-record.js";

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

/** Walks an list of entries from the start; its own fields are the current entry, overwritten by {@link next}. */
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
  readonly #list: PackedEntries;
  readonly #pathPrefixes: ByteString[] = [];
  readonly #sourcePrefixes: ByteString[] = [];
  #chunk = 0;
  #at = 0;
  #index = -1;

  constructor(list: PackedEntries) {
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
    this.#index++;
    return true;
  }

  /** Undefined where it has none. */
  get xattrs(): Xattrs | undefined {
    return this.#list.xattrs.get(this.#index);
  }

  #readSpecial(): void {
    const [type, major, minor] = this.linkTarget.split(",").map(Number) as [number, number, number];
    this.type = SPECIAL_TYPES[type] as SpecialType;
    this.linkTarget = "";
    // Read only where the type says so, so that it need not be cleared for every other entry.
    this.device = { major, minor };
  }
}
