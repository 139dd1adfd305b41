import { type ByteString, compareByCodePoint, decodeSurrogateEscape, isAscii, isUtf8 } from "../core/byte-string.js";
import { compareStrings, nearest, OciNixError } from "../core/errors.js";
import type { Ownership, TarEntry } from "./entry-list.js";
import {
  BLOCK,
  type HeaderFields,
  HeaderTemplate,
  MAX_OCTAL_7,
  MAX_OCTAL_11,
  padded,
  paxRecord,
  putHeader,
  TYPE_DIRECTORY,
  TYPE_FILE,
  TYPE_PAX,
  TYPE_SYMLINK,
} from "./header.js";

export type TarProfileName = "oci" | "dockertools" | "nix2container";

/**
 * Everything that decides a layer's bytes beyond its entries. A profile's bytes never change: other bytes are a new version.
 */
export interface TarProfile {
  readonly name: TarProfileName;
  readonly version: number;
  /** Order of siblings in a directory, by name. */
  readonly compareNames: (a: ByteString, b: ByteString) => number;
  /** Whether store paths come in the order given (each layer may then depend on it) or sorted. */
  readonly storePathOrder: "given" | "sorted";
  /** Which directories above the store paths a layer starts with. */
  readonly parents: "store" | "root-and-store" | "always-nix-store";
  /** Owner of those directories, where it is not the owner of everything else. */
  readonly parentOwner?: Ownership;
  /** The archive's length is a multiple of this. At least two zero blocks end it. */
  readonly recordSize: number;
  /** Bytes of one entry's headers: 512, or more with a pax header. */
  headerLength(entry: TarEntry, mtime: number): number;
  /** Writes the headers at `at`; `target` has room for {@link headerLength} bytes there. */
  putHeaders(target: Buffer, at: number, entry: TarEntry, mtime: number): void;
}

const ROOT: Ownership = { uid: 0, gid: 0, uname: "root", gname: "root" };

/** What one profile makes of an entry: the main header's fields, and the pax header before it where one is needed. */
interface Encoding {
  readonly main: HeaderFields;
  readonly pax?: { readonly header: HeaderFields; readonly records: ByteString };
}

function profile(
  description: Omit<TarProfile, "headerLength" | "putHeaders"> & {
    /** The name as the profile writes it. */
    readonly entryName: (entry: TarEntry) => ByteString;
    readonly device: "" | "0000000";
    /** Whether long names are split over ustar's name and prefix fields. */
    readonly splitsNames: boolean;
  },
  encode: (main: HeaderFields) => Encoding,
): TarProfile {
  const { entryName, device, splitsNames } = description;
  // Owner and time are the same for runs of entries: what depends on them is made once a run.
  let owner: Ownership | undefined;
  let time = Number.NaN;
  let template: HeaderTemplate | undefined;
  const templateFor = (entry: TarEntry, mtime: number): HeaderTemplate | undefined => {
    if (entry.owner !== owner || mtime !== time) {
      owner = entry.owner;
      time = mtime;
      template = fitsPlainly(owner, mtime)
        ? new HeaderTemplate(fieldsOf({ ...BLANK, owner }, "", mtime, device))
        : undefined;
    }
    return entry.hasPlainNames && entry.size <= MAX_OCTAL_11 ? template : undefined;
  };
  // Where a plain name is split (0: not at all); -1 where it fits no ustar header.
  const splitOf = (name: ByteString): number => {
    if (name.length <= 100) return 0;
    return splitsNames ? splitPoint(name) : -1;
  };
  return {
    ...description,
    headerLength(entry, mtime) {
      const name = entryName(entry);
      if (templateFor(entry, mtime) !== undefined && splitOf(name) >= 0) return BLOCK;
      const { pax } = encode(fieldsOf(entry, name, mtime, device));
      return BLOCK + (pax === undefined ? 0 : BLOCK + padded(pax.records.length));
    },
    putHeaders(target, at, entry, mtime) {
      const name = entryName(entry);
      const plain = templateFor(entry, mtime);
      const split = plain === undefined ? -1 : splitOf(name);
      if (plain !== undefined && split >= 0) {
        plain.put(target, at, name, split, entry.mode, typeFlag(entry), entry.size, entry.linkTarget);
        return;
      }
      const { main, pax } = encode(fieldsOf(entry, name, mtime, device));
      let mainAt = at;
      if (pax !== undefined) {
        putHeader(target, at, pax.header);
        mainAt += BLOCK + padded(pax.records.length);
        target.fill(0, at + BLOCK, mainAt);
        target.write(pax.records, at + BLOCK, pax.records.length, "latin1");
      }
      putHeader(target, mainAt, main);
    },
  };
}

const BLANK: Omit<TarEntry, "owner"> = {
  path: "",
  type: "file",
  mode: 0,
  size: 0,
  linkTarget: "",
  source: "",
  hasPlainNames: true,
};

/** Whether owner and time fit a ustar header under every profile. */
function fitsPlainly({ uid, gid, uname, gname }: Ownership, mtime: number): boolean {
  return (
    uid <= MAX_OCTAL_7 &&
    gid <= MAX_OCTAL_7 &&
    mtime >= 0 &&
    mtime <= MAX_OCTAL_11 &&
    uname.length <= 32 &&
    gname.length <= 32 &&
    isAscii(uname) &&
    isAscii(gname)
  );
}

function typeFlag(entry: TarEntry): string {
  return entry.type === "file" ? TYPE_FILE : entry.type === "directory" ? TYPE_DIRECTORY : TYPE_SYMLINK;
}

function fieldsOf(entry: TarEntry, name: ByteString, mtime: number, device: "" | "0000000"): HeaderFields {
  const { uid, gid, uname, gname } = entry.owner;
  return {
    name,
    mode: entry.mode,
    uid,
    gid,
    size: entry.size,
    mtime,
    type: typeFlag(entry),
    linkName: entry.linkTarget,
    uname,
    gname,
    device,
    prefix: "",
  };
}

function paxHeader(name: ByteString, size: number, device: "" | "0000000"): HeaderFields {
  return {
    name,
    mode: 0,
    uid: 0,
    gid: 0,
    size,
    mtime: 0,
    type: TYPE_PAX,
    linkName: "",
    uname: "",
    gname: "",
    device,
    prefix: "",
  };
}

type PaxKey = "path" | "linkpath" | "uname" | "gname" | "uid" | "gid" | "size" | "mtime";

/** The values that do not fit their ustar field, in a fixed order of keys. */
function oversized(main: HeaderFields): Map<PaxKey, ByteString> {
  const records = new Map<PaxKey, ByteString>();
  const text = (key: PaxKey, value: ByteString, length: number) => {
    if (value.length > length || !isAscii(value)) records.set(key, value);
  };
  const number = (key: PaxKey, value: number, max: number) => {
    if (value < 0 || value > max) records.set(key, String(value));
  };
  text("path", main.name, 100);
  text("linkpath", main.linkName, 100);
  text("uname", main.uname, 32);
  text("gname", main.gname, 32);
  number("uid", main.uid, MAX_OCTAL_7);
  number("gid", main.gid, MAX_OCTAL_7);
  number("size", main.size, MAX_OCTAL_11);
  number("mtime", main.mtime, MAX_OCTAL_11);
  return records;
}

function numbersInField(main: HeaderFields, records: ReadonlyMap<PaxKey, ByteString>): void {
  for (const key of ["uid", "gid", "size", "mtime"] as const) if (records.has(key)) main[key] = 0;
}

function encodeRecords(records: Iterable<readonly [string, ByteString]>): ByteString {
  let payload = "";
  for (const [key, value] of records) payload += paxRecord(key, value);
  return payload;
}

/** POSIX: the values that follow are bytes, not UTF-8. */
const BINARY_RECORD = paxRecord("hdrcharset", "BINARY");

function binaryPrefix(values: Iterable<ByteString>): ByteString {
  for (const value of values) if (!isUtf8(value)) return BINARY_RECORD;
  return "";
}

/** Text for an ASCII-only field: each non-ASCII code point (each byte, where it is no UTF-8) as `?`. */
function questionMarks(bytes: ByteString): ByteString {
  // In UTF-8 a code point has one byte that is no continuation byte; undecodable input needs the slow count.
  if (isAscii(bytes)) return bytes;
  if (isUtf8(bytes)) return bytes.replace(/[\x80-\xbf]/g, "").replace(/[\xc0-\xff]/g, "?");
  return questionMarksSlow(bytes);
}

function questionMarksSlow(bytes: ByteString): ByteString {
  let text = "";
  for (const unit of decodeSurrogateEscape(bytes)) text += isAscii(unit) ? unit : "?";
  return text;
}

// ---- oci: ours ------------------------------------------------------------------------------------------------------

/**
 * Relative names, directories with a trailing slash, parents once, entries in NAR order. ustar's prefix field where a long name can
 * be split, else pax records sorted by key.
 */
const OCI = profile(
  {
    name: "oci",
    version: 1,
    entryName: (entry) => (entry.type === "directory" ? `${entry.path}/` : entry.path),
    device: "0000000",
    splitsNames: true,
    compareNames: compareStrings,
    storePathOrder: "sorted",
    parents: "store",
    recordSize: BLOCK,
  },
  (main) => {
    const records = oversized(main);
    const split = records.has("path") ? splitName(main.name) : undefined;
    if (split !== undefined) {
      records.delete("path");
      main.prefix = split.prefix;
      main.name = split.name;
    }
    if (records.size === 0) return { main };
    const sorted = [...records].sort(([a], [b]) => compareStrings(a, b));
    const payload = binaryPrefix(records.values()) + encodeRecords(sorted);
    numbersInField(main, records);
    if (split === undefined) main.name = questionMarks(main.name);
    main.linkName = questionMarks(main.linkName);
    main.uname = questionMarks(main.uname);
    main.gname = questionMarks(main.gname);
    return { main, pax: { header: paxHeader("././@PaxHeader", payload.length, "0000000"), records: payload } };
  },
);

/** ustar: a name of up to 100 bytes and a prefix of up to 155 that ends before a slash; the longest prefix is taken. */
function splitName(name: ByteString): { readonly prefix: ByteString; readonly name: ByteString } | undefined {
  const slash = isAscii(name) ? splitPoint(name) : -1;
  return slash === -1 ? undefined : { prefix: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** The slash at which an ASCII name is split, or -1. */
function splitPoint(name: ByteString): number {
  let length = name.length;
  if (length > 156) length = 156;
  else if (name[length - 1] === "/") length--;
  const slash = name.lastIndexOf("/", length - 1);
  const rest = name.length - slash - 1;
  return slash <= 0 || rest === 0 || rest > 100 ? -1 : slash;
}

// ---- dockertools: the bytes of Python's tarfile as nixpkgs' stream_layered_image.py uses it --------------------------

const DOCKERTOOLS = profile(
  {
    name: "dockertools",
    version: 1,
    entryName: (entry) => (entry.type === "directory" ? `/${entry.path}/` : `/${entry.path}`),
    device: "",
    splitsNames: false,
    compareNames: compareByCodePoint,
    storePathOrder: "given",
    parents: "always-nix-store",
    recordSize: 20 * BLOCK,
  },
  (main) => {
    // Python measures characters, not bytes; a non-ASCII value needs a record either way.
    const records = oversized(main);
    main.name = questionMarks(main.name);
    main.linkName = questionMarks(main.linkName);
    main.uname = questionMarks(main.uname);
    main.gname = questionMarks(main.gname);
    if (records.size === 0) return { main };
    const payload = binaryPrefix(records.values()) + encodeRecords(records);
    numbersInField(main, records);
    return { main, pax: { header: paxHeader("././@PaxHeader", payload.length, ""), records: payload } };
  },
);

// ---- nix2container: the bytes of Go's archive/tar as nix2container uses it -------------------------------------------

const NIX2CONTAINER = profile(
  {
    name: "nix2container",
    version: 1,
    entryName: (entry) => `/${entry.path}`,
    device: "0000000",
    splitsNames: true,
    compareNames: compareStrings,
    storePathOrder: "sorted",
    parents: "root-and-store",
    parentOwner: ROOT,
    recordSize: BLOCK,
  },
  (main) => {
    const records = oversized(main);
    const split = records.has("path") ? splitName(main.name) : undefined;
    if (records.size === 0) return { main };
    if (records.size === 1 && split !== undefined) {
      main.prefix = split.prefix;
      main.name = split.name;
      return { main };
    }
    const payload = encodeRecords([...records].sort(([a], [b]) => compareStrings(a, b)));
    const header = paxHeader(goPaxName(main.name), payload.length, "");
    numbersInField(main, records);
    main.name = goField(main.name, 100);
    main.linkName = goField(main.linkName, 100);
    main.uname = goField(main.uname, 32);
    main.gname = goField(main.gname, 32);
    return { main, pax: { header, records: payload } };
  },
);

function dropNonAscii(bytes: ByteString): ByteString {
  return bytes.replace(/[\x80-\xff]/g, "");
}

function goPaxName(name: ByteString): ByteString {
  const slash = name.lastIndexOf("/");
  // path.Join drops an empty last element, which only the root directory has.
  const joined = `${name.slice(0, slash + 1)}PaxHeaders.0${slash + 1 === name.length ? "" : name.slice(slash)}`;
  return dropNonAscii(joined).slice(0, 100).replace(/\/+$/, "");
}

/** Go cuts a string to its field, then ends it before a slash at the cut, lest old readers take a file for a directory. */
function goField(bytes: ByteString, length: number): ByteString {
  const ascii = dropNonAscii(bytes);
  if (ascii.length <= length || ascii[length - 1] !== "/") return ascii.slice(0, length);
  const cut = ascii.slice(0, length - 1).replace(/\/+$/, "").length;
  return `${ascii.slice(0, cut)}\0${ascii.slice(cut + 1, length)}`;
}

const PROFILES: Readonly<Record<TarProfileName, TarProfile>> = {
  oci: OCI,
  dockertools: DOCKERTOOLS,
  nix2container: NIX2CONTAINER,
};

export const TAR_PROFILE_NAMES = Object.keys(PROFILES) as readonly TarProfileName[];

/** @param where names the origin, for errors. @throws OciNixError `invalid-input` for an unknown name */
export function tarProfile(name: string, where = "tar profile"): TarProfile {
  const found = Object.hasOwn(PROFILES, name) ? PROFILES[name as TarProfileName] : undefined;
  if (found !== undefined) return found;
  const near = nearest(name, TAR_PROFILE_NAMES);
  throw new OciNixError("invalid-input", `${where}: unknown tar profile ${JSON.stringify(name)}`, {
    hint: near === undefined ? `one of ${TAR_PROFILE_NAMES.join(", ")}` : `did you mean ${near}?`,
  });
}
