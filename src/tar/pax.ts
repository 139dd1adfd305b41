import { type ByteString, decodeSurrogateEscape, isAscii, isUtf8 } from "../core/byte-string.js";
import { type HeaderFields, MAX_OCTAL_7, MAX_OCTAL_11, paxRecord, TYPE_PAX } from "./header.js";

/** The header that announces pax records. */
export function paxHeader(name: ByteString, size: number, device: "" | "0000000"): HeaderFields {
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

export type PaxKey = "path" | "linkpath" | "uname" | "gname" | "uid" | "gid" | "size" | "mtime";

/** The values that do not fit their ustar field, in a fixed order of keys. */
export function oversized(main: HeaderFields): Map<PaxKey, ByteString> {
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

/** Zeros the numbers that are in records. */
export function numbersInField(main: HeaderFields, records: ReadonlyMap<PaxKey, ByteString>): void {
  for (const key of ["uid", "gid", "size", "mtime"] as const) if (records.has(key)) main[key] = 0;
}

export function encodeRecords(records: Iterable<readonly [string, ByteString]>): ByteString {
  let payload = "";
  for (const [key, value] of records) payload += paxRecord(key, value);
  return payload;
}

/** POSIX: the values that follow are bytes, not UTF-8. */
const BINARY_RECORD = paxRecord("hdrcharset", "BINARY");

/** The record that announces bytes, where one of the values is no UTF-8; else nothing. */
export function binaryPrefix(values: Iterable<ByteString>): ByteString {
  for (const value of values) if (!isUtf8(value)) return BINARY_RECORD;
  return "";
}

/** Text for an ASCII-only field: each non-ASCII code point (each byte, where it is no UTF-8) as `?`. */
export function questionMarks(bytes: ByteString): ByteString {
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
