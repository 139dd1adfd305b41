import { type ByteString, isAscii } from "../core/byte-string.js";
import type { Ownership, TarEntry } from "./entry-list.js";
import {
  BLOCK,
  type HeaderFields,
  HeaderTemplate,
  MAX_OCTAL_7,
  MAX_OCTAL_11,
  padded,
  putHeader,
  TYPE_BLOCK,
  TYPE_CHARACTER,
  TYPE_DIRECTORY,
  TYPE_FIFO,
  TYPE_FILE,
  TYPE_SYMLINK,
} from "./header.js";

/** Those that an image can have. */
export type TarProfileName = "oci" | "dockertools" | "nix2container";

/**
 * Everything that decides a layer's bytes beyond its entries. A profile's bytes never change: other bytes are a new version.
 */
export interface TarProfile {
  /** `gnu` is only a layer's: that of the profile `dockertools` which nixpkgs makes by GNU tar. */
  readonly name: TarProfileName | "gnu";
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
  /** Bytes of one entry's headers: 512, or more with extended headers. */
  headerLength(entry: TarEntry, mtime: number): number;
  /** Writes the headers at `at`; `target` has room for {@link headerLength} bytes there. */
  putHeaders(target: Buffer, at: number, entry: TarEntry, mtime: number): void;
}

/** What a profile makes of an entry: the main header's fields, and the headers before it, with what they hold, where some are needed. */
export interface Encoding {
  readonly main: HeaderFields;
  readonly extended?: readonly { readonly header: HeaderFields; readonly payload: ByteString }[];
}

/**
 * Makes a profile.
 * @param encode what the profile makes of the fields of an entry that are not all plain
 */
export function defineProfile(
  description: Omit<TarProfile, "headerLength" | "putHeaders"> & {
    /** The name as the profile writes it. */
    readonly entryName: (entry: TarEntry) => ByteString;
    readonly device: "" | "0000000";
    /** Whether long names are split over ustar's name and prefix fields. */
    readonly splitsNames: boolean;
    /** What all of the main headers say, whatever the entries are and the caller's time. */
    readonly fixed?: Partial<HeaderFields>;
  },
  encode: (main: HeaderFields) => Encoding,
): TarProfile {
  const { entryName, device, splitsNames, fixed = {} } = description;
  const fieldsOf = (entry: TarEntry, name: ByteString, mtime: number): HeaderFields => {
    return { ...entryFields(entry, name, mtime, device), ...fixed };
  };
  // Owner and time are the same for runs of entries: what depends on them is made once a run.
  let owner: Ownership | undefined;
  let time = Number.NaN;
  let template: HeaderTemplate | undefined;
  const templateFor = (entry: TarEntry, mtime: number): HeaderTemplate | undefined => {
    if (entry.owner !== owner || mtime !== time) {
      owner = entry.owner;
      time = mtime;
      template = fitsPlainly(owner, mtime) ? new HeaderTemplate(fieldsOf({ ...BLANK, owner }, "", mtime)) : undefined;
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
      const { extended = [] } = encode(fieldsOf(entry, name, mtime));
      return BLOCK + extended.reduce((sum, { payload }) => sum + BLOCK + padded(payload.length), 0);
    },
    putHeaders(target, at, entry, mtime) {
      const name = entryName(entry);
      const plain = templateFor(entry, mtime);
      const split = plain === undefined ? -1 : splitOf(name);
      if (plain !== undefined && split >= 0) {
        plain.put(target, at, name, split, entry.mode, typeFlag(entry), entry.size, entry.linkTarget);
        return;
      }
      const { main, extended = [] } = encode(fieldsOf(entry, name, mtime));
      let next = at;
      for (const { header, payload } of extended) {
        const payloadAt = next + BLOCK;
        putHeader(target, next, header);
        next = payloadAt + padded(payload.length);
        target.fill(0, payloadAt, next);
        target.write(payload, payloadAt, payload.length, "latin1");
      }
      putHeader(target, next, main);
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
  const { type } = entry;
  if (type === "file") return TYPE_FILE;
  if (type === "directory") return TYPE_DIRECTORY;
  return type === "symlink" ? TYPE_SYMLINK : SPECIAL_FLAGS[type];
}

const SPECIAL_FLAGS = { character: TYPE_CHARACTER, block: TYPE_BLOCK, fifo: TYPE_FIFO } as const;

function isDevice({ type }: TarEntry): boolean {
  return type === "character" || type === "block";
}

function entryFields(entry: TarEntry, name: ByteString, mtime: number, device: "" | "0000000"): HeaderFields {
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
    device: isDevice(entry) && entry.device !== undefined ? entry.device : device,
    prefix: "",
  };
}

/** ustar: a name of up to 100 bytes and a prefix of up to 155 that ends before a slash; the longest prefix is taken. */
export function splitName(name: ByteString): { readonly prefix: ByteString; readonly name: ByteString } | undefined {
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
