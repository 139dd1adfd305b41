import { type ByteString, isAscii } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { Device } from "../core/generated-object.js";
import type { Ownership } from "../core/ownership.js";
import {
  ASCII_SOURCE,
  CONTENTS,
  type EntryType,
  FIXED,
  HAS_LINK,
  HAS_SIZE,
  OWN_SOURCE,
  optionalLength,
  type PackedEntries,
  PLAIN_NAMES,
  SIZE_BYTES,
  SPECIAL_TYPES,
  type SpecialType,
  TYPE_MASK,
  TYPES,
  type Xattrs,
} from "./entry-record.js";

export { EntryCursor, type TarEntry } from "./entry-cursor.js";
export type { EntryType, Ownership, Xattrs };

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
  /** Archives that are written have no place for them: file systems have. */
  readonly xattrs?: Xattrs | undefined;
}

/** An {@link EntryList} as it crosses to another thread. */
export interface EntryListParts {
  readonly count: number;
  /** Whether whoever made the list found nothing in it that may be otherwise at another time. */
  readonly isSettled: boolean;
  readonly owners: readonly Ownership[];
  readonly chunks: readonly SharedArrayBuffer[];
  readonly chunkLengths: readonly number[];
  readonly xattrs: ReadonlyMap<number, Xattrs>;
}

const FIRST_CHUNK = 1 << 14;
const LAST_CHUNK = 1 << 20;

/**
 * Tar entries in the order of the archive, a directory before what is in it.
 *
 * Kept as packed bytes, at most 23 and its texts an entry, because a layer may hold a million: the sizes must be known before the first
 * byte of the layer goes out, and this is what is held in between. Append only; {@link EntryCursor} replays it. The memory is shared,
 * so that other threads replay it too ({@link parts}).
 */
export class EntryList implements PackedEntries {
  /** Number of entries. */
  count = 0;
  /** See {@link EntryListParts}; to be cleared by whoever appends such an entry. */
  isSettled = true;
  readonly chunks: Buffer[] = [];
  readonly chunkLengths: number[] = [];
  readonly owners: Ownership[] = [];
  readonly xattrs = new Map<number, Xattrs>();
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
    if (entry.xattrs !== undefined) this.xattrs.set(this.count, entry.xattrs);
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
      xattrs: this.xattrs,
    };
  }

  /** One list out of several made with the same owners; each begins at the first level. */
  static join(lists: readonly EntryListParts[]): EntryList {
    const joined = new EntryList();
    for (const { count, isSettled, owners, chunks, chunkLengths, xattrs } of lists) {
      if (joined.owners.length === 0) joined.owners.push(...owners);
      else if (joined.owners.length !== owners.length) throw new Error("lists with other owners cannot be joined");
      for (const [index, each] of xattrs) joined.xattrs.set(joined.count + index, each);
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
