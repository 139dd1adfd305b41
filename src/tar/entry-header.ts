import type { ByteString } from "../core/byte-string.js";
import { compareStrings } from "../core/errors.js";
import type { TarEntry } from "./entries.js";
import {
  BLOCK,
  type HeaderFields,
  MAX_OCTAL_11,
  padded,
  putHeader,
  TYPE_BLOCK,
  TYPE_CHARACTER,
  TYPE_DIRECTORY,
  TYPE_FIFO,
  TYPE_FILE,
  TYPE_LINK,
  TYPE_SYMLINK,
} from "./header.js";
import { binaryPrefix, encodeRecords, numbersInField, oversized, paxHeader, questionMarks } from "./pax.js";
import { splitName } from "./profile.js";

/** An entry that was read from one archive and goes into another one. */
export type KeptEntry = Omit<TarEntry, "type" | "mtime" | "sparse" | "fullSize"> & {
  readonly type: Exclude<TarEntry["type"], "other">;
  /** Whole seconds, unless {@link TarEntry.mtimeRecord} says more. */
  readonly mtime: number;
};

const TYPES: Readonly<Record<KeptEntry["type"], string>> = {
  file: TYPE_FILE,
  link: TYPE_LINK,
  symlink: TYPE_SYMLINK,
  character: TYPE_CHARACTER,
  block: TYPE_BLOCK,
  directory: TYPE_DIRECTORY,
  fifo: TYPE_FIFO,
};

/**
 * The headers of an entry with all that is known of it: owner, mode, time, device, extended attributes. Names as the tar profile `oci`
 * writes them: ustar's prefix field where a long name can be split, else pax records sorted by key; extended attributes are the records
 * `SCHILY.xattr.NAME`, as GNU tar and Go write and read them.
 *
 * @param entry name as it is to be, directories with a trailing slash; uid, gid and device are natural numbers that Linux takes
 */
export function entryHeader(entry: KeptEntry): Buffer {
  const main: HeaderFields = {
    name: entry.name,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: entry.size,
    mtime: entry.mtime,
    type: TYPES[entry.type],
    linkName: entry.linkName,
    uname: entry.uname,
    gname: entry.gname,
    device: { major: entry.devMajor, minor: entry.devMinor },
    prefix: "",
  };
  const records = oversized(main);
  const isPlainTime = Number.isInteger(main.mtime) && main.mtime >= 0 && main.mtime <= MAX_OCTAL_11;
  if (!isPlainTime) records.set("mtime", entry.mtimeRecord ?? String(main.mtime));
  const split = records.has("path") ? splitName(main.name) : undefined;
  if (split !== undefined) {
    records.delete("path");
    main.prefix = split.prefix;
    main.name = split.name;
  }
  const binary = binaryPrefix(records.values());
  const all: (readonly [string, ByteString])[] = [...records];
  for (const [name, value] of entry.xattrs ?? []) all.push([`SCHILY.xattr.${name}`, value]);
  numbersInField(main, records);
  main.name = questionMarks(main.name);
  main.linkName = questionMarks(main.linkName);
  main.uname = questionMarks(main.uname);
  main.gname = questionMarks(main.gname);
  const payload = all.length === 0 ? "" : binary + encodeRecords(all.sort(([a], [b]) => compareStrings(a, b)));
  const mainAt = payload === "" ? 0 : BLOCK + padded(payload.length);
  const headers = Buffer.alloc(mainAt + BLOCK);
  if (payload !== "") {
    putHeader(headers, 0, paxHeader("././@PaxHeader", payload.length, "0000000"));
    headers.write(payload, BLOCK, "latin1");
  }
  putHeader(headers, mainAt, main);
  return headers;
}
