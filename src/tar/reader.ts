import { fstatSync } from "node:fs";
import type { ByteString } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import { readRange } from "../core/file-range.js";
import { hasChecksum, headerNumber, isZero, readPax, untilNul, ustarName } from "./decode.js";
import { BLOCK, padded } from "./header.js";

/** One member of an archive in a file, and where its contents lie. */
export interface ArchiveMember {
  readonly type: "file" | "directory" | "symlink" | "link" | "other";
  readonly size: number;
  /** Of the contents, in bytes from the start of the file. */
  readonly offset: number;
  readonly linkTarget: string;
  /** The one before of the same name, unless both are directories. */
  readonly earlier?: ArchiveMember;
}

/** Bytes of the extended headers of one member; more are refused: a name never needs as many. */
const MAX_EXTENDED = 1 << 20;
/** Characters of all names and link targets together, which are kept. */
const MAX_NAMES = 1 << 26;
/** Images have a few members a layer. */
const MAX_MEMBERS = 100_000;

/**
 * Indexes an uncompressed tar (ustar, pax, GNU) by {@link memberName}; of a repeated name the last member is given, as when it is
 * unpacked, and knows of the others. Only headers are read, so an archive of any size takes no time.
 *
 * @param fd open for reading a regular file
 * @throws OciNixError `invalid-input` where it is no tar or is cut off, `limit` where it has too many members; `source` is what the
 *   message calls it; the signal's reason
 */
export async function indexArchive(
  fd: number,
  source: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, ArchiveMember>> {
  const members = new Map<string, ArchiveMember>();
  const turns = new EventLoopTurns(signal);
  const { size: end } = fstatSync(fd);
  const fail = (what: string, at: number) =>
    new OciNixError("invalid-input", `${source} is not a complete tar archive: ${what} at byte ${at}`);
  const read = (offset: number, size: number): Buffer => {
    if (offset + size > end) throw fail("it ends", end);
    return readRange(fd, { offset, size }, source);
  };
  let extended = new Extended();
  let names = 0;
  for (let at = 0, seen = 0; at < end; ) {
    const block = read(at, BLOCK);
    if (isZero(block, 0, BLOCK)) break;
    if (!hasChecksum(block)) throw fail("a header whose checksum is wrong", at);
    const flag = String.fromCharCode(block[156] as number);
    const contents = at + BLOCK;
    const recorded = headerNumber(block, 124, 12) ?? -1;
    if (recorded < 0) throw fail("a header whose size is no number", at);
    if (Extended.isOne(flag)) {
      extended.size += recorded;
      if (extended.size > MAX_EXTENDED) {
        throw new OciNixError("limit", `${source}: extended headers of ${extended.size} bytes at byte ${at}`);
      }
      if (!extended.take(flag, read(contents, recorded))) throw fail("a malformed pax record", at);
      at = contents + padded(recorded);
    } else {
      const member = memberOf(block, flag, contents, recorded, extended);
      if (member === undefined) throw fail("a member of no known size", at);
      if (contents + member.size > end) throw fail("it ends", end);
      const name = memberName(decodeUtf8(extended.name ?? ustarName(block)));
      names += name.length + member.linkTarget.length;
      if (names > MAX_NAMES) throw new OciNixError("limit", `${source} has names of more than ${MAX_NAMES} characters`);
      const earlier = members.get(name);
      const isRepeated =
        earlier !== undefined && (member.type !== "directory" || earlier.type !== "directory" || earlier.earlier);
      members.set(name, isRepeated ? { ...member, earlier } : member);
      extended = new Extended();
      at = contents + padded(member.size);
    }
    if (++seen > MAX_MEMBERS) throw new OciNixError("limit", `${source} has more than ${MAX_MEMBERS} members`);
    const due = turns.next();
    if (due !== undefined) await due;
  }
  return members;
}

/** What headers before a member's own say about it. Global ones count for nothing, as in Go. */
class Extended {
  /** Bytes of them all. */
  size = 0;
  readonly #pax = new Map<string, ByteString>();
  #longName: ByteString | undefined;
  #longLink: ByteString | undefined;

  static isOne(flag: string): boolean {
    return "xgXLK".includes(flag);
  }

  /** @returns false where it is malformed */
  take(flag: string, payload: Buffer): boolean {
    if (flag === "L") this.#longName = untilNul(payload, 0, payload.length);
    else if (flag === "K") this.#longLink = untilNul(payload, 0, payload.length);
    else if (flag !== "g") return readPax(payload, this.#pax);
    return true;
  }

  get name(): ByteString | undefined {
    return this.#pax.get("path") || this.#longName;
  }

  get linkName(): ByteString | undefined {
    return this.#pax.get("linkpath") || this.#longLink;
  }

  get memberSize(): string | undefined {
    return this.#pax.get("size");
  }

  /** The archive holds only parts of the file. */
  get isSparse(): boolean {
    return [...this.#pax.keys()].some((key) => key.startsWith("GNU.sparse."));
  }
}

const TYPES: Readonly<Record<string, ArchiveMember["type"]>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "link",
  "2": "symlink",
  "5": "directory",
};

/** Undefined where nobody knows where the next header is: an absurd size, or an old sparse file, whose map goes on after the header. */
function memberOf(
  block: Buffer,
  flag: string,
  offset: number,
  recorded: number,
  extended: Extended,
): ArchiveMember | undefined {
  if (extended.memberSize !== undefined && !/^\d{1,15}$/.test(extended.memberSize)) return undefined;
  if (flag === "S" && block[482] !== 0) return undefined;
  const known = TYPES[flag] ?? "other";
  const type = known === "file" && extended.isSparse ? "other" : known;
  const size = extended.memberSize === undefined ? recorded : Number(extended.memberSize);
  const isLink = type === "link" || type === "symlink";
  return {
    type,
    size: type === "file" || type === "other" ? size : 0,
    offset,
    linkTarget: isLink ? decodeUtf8(extended.linkName ?? untilNul(block, 157, 257)) : "",
  };
}

function decodeUtf8(bytes: ByteString): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** A member's name as indexes key it: where it is when the archive is unpacked. Nothing is above the root. */
export function memberName(name: string): string {
  // Not path.posix.normalize, which takes quadratic time.
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}
