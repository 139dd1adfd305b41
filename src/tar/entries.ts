import { createHash, type Hash } from "node:crypto";
import type { ByteSink } from "../core/byte-sink.js";
import type { ByteString } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import { hasChecksum, headerNumber, isV7, isZero, readPax, untilNul, ustarName, xattrsOf } from "./decode.js";
import { BLOCK, padded } from "./header.js";

export type TarEntryType = "file" | "directory" | "symlink" | "link" | "character" | "block" | "fifo" | "other";

/** One entry as its headers describe it, nothing normalised. */
export interface TarEntry {
  readonly name: ByteString;
  readonly type: TarEntryType;
  /** Permission bits, set-id and sticky bits included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: ByteString;
  readonly gname: ByteString;
  /** Of the contents as the archive holds them, in bytes; 0 for all but files. */
  readonly size: number;
  /** Seconds since 1970; with a fraction where the archive has one. */
  readonly mtime: number;
  /** {@link mtime} as a pax record spells it, nanoseconds and all; undefined where none does. */
  readonly mtimeRecord: ByteString | undefined;
  /** Of a symlink or a hard link, else empty. */
  readonly linkName: ByteString;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Undefined where there are none. */
  readonly xattrs: ReadonlyMap<ByteString, ByteString> | undefined;
  /** The archive holds only the parts of the file that are no holes. */
  readonly sparse: boolean;
  /** Bytes of a file with its holes; {@link size} where it is not {@link sparse}. */
  readonly fullSize: number;
}

export interface TarVisitor {
  /** An entry begins. Says whether {@link close} is to be given their digest. */
  open(entry: TarEntry): boolean;
  /** A piece of the entry's contents; its bytes are overwritten once the call that brought them is over. */
  data?(piece: Buffer): void;
  /** The entry's contents have passed. @param sha256 32 bytes, where {@link open} asked for it */
  close(entry: TarEntry, sha256: ByteString | undefined): void;
}

/** How an archive ended. */
export interface TarEnd {
  readonly entries: number;
  /** There were two zero blocks, as POSIX wants. */
  readonly terminated: boolean;
  /** Something other than zeros follows the end. */
  readonly trailing: boolean;
}

/** Bytes of the extended headers of one entry; more are refused: names and extended attributes never need as many. */
const MAX_EXTENDED = 1 << 20;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  S: "file",
  "1": "link",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

/** SHA-256 of nothing. */
const EMPTY: ByteString = createHash("sha256").digest().toString("latin1");

/** What is being taken: headers, an extended header's payload, the map of a sparse file, contents, or what follows the end. */
type Stage = "header" | "extended" | "sparse-map" | "contents" | "end";

/**
 * Reads an uncompressed tar (v7, ustar, pax, GNU) that is written to it, as Go's archive/tar understands it, since every engine uses
 * that: pax headers win, only files have contents, global pax headers count for nothing. Names are the bytes of the archive. Memory is
 * bounded by the largest extended header.
 *
 * @throws OciNixError from `write` and `end`: `invalid-input` where it is no tar or is cut off, `limit` for an absurd extended header
 */
export class TarEntries implements ByteSink {
  readonly #visitor: TarVisitor;
  readonly #title: string;
  readonly #block = Buffer.alloc(BLOCK);
  #filled = 0;
  #stage: Stage = "header";
  /** Bytes of the extended header or the contents that are still to come, and of the padding after them. */
  #left = 0;
  #padding = 0;
  #extended = Buffer.alloc(0);
  #extendedAt = 0;
  /** Of the headers since the last entry, in bytes. */
  #extendedTotal = 0;
  #extendedType = "";
  #pax = new Map<string, ByteString>();
  #longName: ByteString | undefined;
  #longLink: ByteString | undefined;
  #entry: TarEntry | undefined;
  #wanted = false;
  #hash: Hash | undefined;
  #entries = 0;
  #zeroBlocks = 0;
  #trailing = false;
  #offset = 0;

  /** @param title what errors call the archive */
  constructor(visitor: TarVisitor, title: string) {
    this.#visitor = visitor;
    this.#title = title;
  }

  write(bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < buffer.length; ) {
      const count = this.#take(buffer, at);
      at += count;
      this.#offset += count;
    }
  }

  /** To be called once, when all is written. */
  end(): TarEnd {
    if (this.#stage === "contents" && this.#left === 0) this.#closeEntry();
    else if ((this.#stage !== "header" && this.#stage !== "end") || this.#filled > 0) throw this.#cut();
    if (this.#pax.size > 0 || this.#longName !== undefined || this.#longLink !== undefined) throw this.#cut();
    return { entries: this.#entries, terminated: this.#stage === "end", trailing: this.#trailing };
  }

  #take(buffer: Buffer, at: number): number {
    if (this.#stage === "end") {
      if (!this.#trailing) this.#trailing = !isZero(buffer, at, buffer.length);
      return buffer.length - at;
    }
    if (this.#left > 0) {
      const count = Math.min(this.#left, buffer.length - at);
      if (this.#stage === "contents") this.#takeContents(buffer, at, at + count);
      else buffer.copy(this.#extended, this.#extendedAt, at, at + count);
      this.#extendedAt += count;
      this.#left -= count;
      if (this.#left === 0 && this.#padding === 0) this.#finishData();
      return count;
    }
    if (this.#padding > 0) {
      const count = Math.min(this.#padding, buffer.length - at);
      this.#padding -= count;
      if (this.#padding === 0) this.#finishData();
      return count;
    }
    const count = Math.min(BLOCK - this.#filled, buffer.length - at);
    buffer.copy(this.#block, this.#filled, at, at + count);
    this.#filled += count;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#takeBlock();
    }
    return count;
  }

  #takeContents(buffer: Buffer, from: number, to: number): void {
    if (this.#hash === undefined && this.#visitor.data === undefined) return;
    const piece = buffer.subarray(from, to);
    this.#hash?.update(piece);
    this.#visitor.data?.(piece);
  }

  #takeBlock(): void {
    if (this.#stage === "sparse-map") {
      if (this.#block[504] === 0) this.#beginContents();
      return;
    }
    if (isZero(this.#block, 0, BLOCK)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#stage = "end";
      return;
    }
    if (this.#zeroBlocks > 0) throw this.#damaged("a zero block among the entries");
    this.#takeHeader();
  }

  #takeHeader(): void {
    const block = this.#block;
    if (!hasChecksum(block)) throw this.#damaged("a header whose checksum is wrong");
    const type = String.fromCharCode(block[156] as number);
    if (type === "x" || type === "g" || type === "X" || type === "L" || type === "K") {
      const size = this.#number(124, 12, "size");
      this.#extendedTotal += size;
      if (this.#extendedTotal > MAX_EXTENDED) {
        throw new OciNixError(
          "limit",
          `${this.#title}: extended headers of ${this.#extendedTotal} bytes at byte ${this.#headerAt()}`,
        );
      }
      this.#extendedType = type;
      this.#extended = Buffer.alloc(size);
      this.#extendedAt = 0;
      this.#stage = "extended";
      this.#expect(size);
      return;
    }
    const entry = this.#readEntry(type);
    this.#entry = entry;
    this.#pax = new Map();
    this.#extendedTotal = 0;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#entries++;
    // Old GNU sparse files: the map of the parts goes on in blocks of its own.
    if (type === "S" && block[482] !== 0) this.#stage = "sparse-map";
    else this.#beginContents();
  }

  #beginContents(): void {
    const entry = this.#entry as TarEntry;
    this.#stage = "contents";
    this.#wanted = this.#visitor.open(entry);
    // A hash is a native object: a million of them, for empty files, would take a gigabyte.
    this.#hash = this.#wanted && entry.size > 0 ? createHash("sha256") : undefined;
    this.#expect(entry.size);
  }

  #expect(size: number): void {
    this.#left = size;
    this.#padding = padded(size) - size;
    if (size === 0) this.#finishData();
  }

  #finishData(): void {
    if (this.#stage === "contents") this.#closeEntry();
    else this.#takeExtended();
    this.#stage = "header";
  }

  #closeEntry(): void {
    const entry = this.#entry as TarEntry;
    this.#entry = undefined;
    this.#visitor.close(entry, this.#wanted ? (this.#hash?.digest().toString("latin1") ?? EMPTY) : undefined);
    this.#hash = undefined;
  }

  #takeExtended(): void {
    const payload = this.#extended;
    this.#extended = Buffer.alloc(0);
    if (this.#extendedType === "L") this.#longName = untilNul(payload, 0, payload.length);
    else if (this.#extendedType === "K") this.#longLink = untilNul(payload, 0, payload.length);
    else if (this.#extendedType !== "g" && !readPax(payload, this.#pax)) {
      throw this.#damaged("a pax record that is malformed");
    }
  }

  #readEntry(flag: string): TarEntry {
    const pax = this.#pax;
    const name = pax.get("GNU.sparse.name") || pax.get("path") || this.#longName || ustarName(this.#block);
    let type = TYPES[flag] ?? "other";
    if (flag === "\0" && name.endsWith("/")) type = "directory";
    const size = this.#paxNumber("size") ?? this.#number(124, 12, "size");
    if (!Number.isSafeInteger(size) || size < 0) throw this.#damaged(`an entry of ${size} bytes`);
    const linkName = pax.get("linkpath") || this.#longLink || untilNul(this.#block, 157, 257);
    const device = type === "character" || type === "block";
    return {
      name,
      type,
      mode: this.#number(100, 8, "mode") & 0o7777,
      uid: this.#paxNumber("uid") ?? this.#number(108, 8, "uid"),
      gid: this.#paxNumber("gid") ?? this.#number(116, 8, "gid"),
      uname: pax.get("uname") ?? (isV7(this.#block) ? "" : untilNul(this.#block, 265, 297)),
      gname: pax.get("gname") ?? (isV7(this.#block) ? "" : untilNul(this.#block, 297, 329)),
      size: type === "file" || type === "other" ? size : 0,
      mtime: this.#paxNumber("mtime") ?? this.#number(136, 12, "mtime"),
      mtimeRecord: pax.get("mtime") || undefined,
      linkName: type === "link" || type === "symlink" ? linkName : "",
      devMajor: device ? this.#number(329, 8, "devmajor") : 0,
      devMinor: device ? this.#number(337, 8, "devminor") : 0,
      xattrs: xattrsOf(pax),
      ...this.#holes(flag, type === "file" || type === "other" ? size : 0),
    };
  }

  /** GNU tar has four ways to store what has holes. */
  #holes(flag: string, size: number): Pick<TarEntry, "sparse" | "fullSize"> {
    const pax = this.#pax;
    const sparse = flag === "S" || pax.has("GNU.sparse.major") || pax.has("GNU.sparse.map");
    if (!sparse) return { sparse, fullSize: size };
    const recorded = this.#paxNumber("GNU.sparse.realsize") ?? this.#paxNumber("GNU.sparse.size");
    const fullSize = recorded ?? (flag === "S" ? this.#number(483, 12, "size with holes") : size);
    if (!Number.isInteger(fullSize) || fullSize < 0) throw this.#damaged(`a file of ${fullSize} bytes with its holes`);
    return { sparse, fullSize };
  }

  #paxNumber(key: string): number | undefined {
    const text = this.#pax.get(key);
    if (text === undefined || text === "") return undefined;
    if (!/^-?[0-9]{1,20}(\.[0-9]*)?$/.test(text)) throw this.#damaged(`a pax record whose ${key} is no number`);
    return Number(text);
  }

  #number(at: number, length: number, what: string): number {
    const value = headerNumber(this.#block, at, length);
    if (value === undefined) throw this.#damaged(`a header whose ${what} is no number, or an absurd one,`);
    return value;
  }

  /** Where the block that was just taken begins. */
  #headerAt(): number {
    return Math.floor(this.#offset / BLOCK) * BLOCK;
  }

  #damaged(what: string): OciNixError {
    return new OciNixError(
      "invalid-input",
      `${this.#title} is not a sound tar archive: ${what} at byte ${this.#headerAt()}`,
    );
  }

  #cut(): OciNixError {
    return new OciNixError(
      "invalid-input",
      `${this.#title} is not a complete tar archive: it ends at byte ${this.#offset}`,
    );
  }
}
