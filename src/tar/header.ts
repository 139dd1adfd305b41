import type { ByteString } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";

/** A POSIX tar block, in bytes. POSIX pax, "ustar Interchange Format". */
export const BLOCK = 512;

export const TYPE_FILE = "0";
export const TYPE_LINK = "1";
export const TYPE_SYMLINK = "2";
export const TYPE_CHARACTER = "3";
export const TYPE_BLOCK = "4";
export const TYPE_DIRECTORY = "5";
export const TYPE_FIFO = "6";
export const TYPE_PAX = "x";

/** Largest values of the octal fields of 7 and 11 digits. */
export const MAX_OCTAL_7 = 8 ** 7 - 1;
export const MAX_OCTAL_11 = 8 ** 11 - 1;

/** The fields of one ustar header, each already fit for its field. */
export interface HeaderFields {
  /** At most 100 bytes are written. */
  name: ByteString;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  type: string;
  linkName: ByteString;
  uname: ByteString;
  gname: ByteString;
  /** What devmajor and devminor hold: empty (all NUL), seven zeros, or a device's numbers. */
  device: "" | "0000000" | { readonly major: number; readonly minor: number };
  prefix: ByteString;
  /** GNU's magic instead of POSIX's, and its binary numbers where octal digits do not suffice. */
  gnu?: boolean;
}

/**
 * Writes one header of 512 bytes at `at`: zero-padded octal numbers with a NUL, magic `ustar\0` and version `00`, unless the fields ask for
 * GNU's.
 */
export function putHeader(target: Buffer, at: number, fields: HeaderFields): void {
  target.fill(0, at, at + BLOCK);
  putBytes(target, at, fields.name, 100);
  putOctal(target, at + 100, 7, fields.mode);
  const putNumber = fields.gnu === true ? putOctalOrBinary : putOctal;
  putNumber(target, at + 108, 7, fields.uid);
  putNumber(target, at + 116, 7, fields.gid);
  putNumber(target, at + 124, 11, fields.size);
  putNumber(target, at + 136, 11, fields.mtime);
  target[at + 156] = fields.type.charCodeAt(0);
  putBytes(target, at + 157, fields.linkName, 100);
  putBytes(target, at + 257, fields.gnu === true ? "ustar  \0" : "ustar\x0000", 8);
  putBytes(target, at + 265, fields.uname, 32);
  putBytes(target, at + 297, fields.gname, 32);
  if (typeof fields.device === "string") {
    putBytes(target, at + 329, fields.device, 7);
    putBytes(target, at + 337, fields.device, 7);
  } else {
    putOctal(target, at + 329, 7, fields.device.major);
    putOctal(target, at + 337, 7, fields.device.minor);
  }
  putBytes(target, at + 345, fields.prefix, 155);
  let sum = 8 * 0x20;
  for (let i = at; i < at + BLOCK; i++) sum += target[i] as number;
  putOctal(target, at + 148, 6, sum);
  target[at + 155] = 0x20;
}

/** One pax record, `<length> <key>=<value>\n`, its length counting itself. */
export function paxRecord(key: string, value: ByteString): ByteString {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (rest.length + String(length).length !== length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** `size` rounded up to whole blocks. */
export function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

/**
 * A header of which all but name, prefix, mode, type, size and link target is fixed, for the entries, nearly all, that share the rest:
 * several times faster than {@link putHeader}, same bytes.
 */
export class HeaderTemplate {
  readonly #bytes = Buffer.alloc(BLOCK);
  /** Sum of the fixed bytes, the checksum field counting as spaces. */
  readonly #sum: number;

  /** @param fields the fixed ones; name and link target empty, mode and size 0, type a NUL */
  constructor(fields: HeaderFields) {
    putHeader(this.#bytes, 0, fields);
    // Digits and the type are added up entry by entry.
    for (const at of [...range(100, 107), ...range(124, 135), 156]) this.#bytes[at] = 0;
    let sum = 8 * 0x20;
    for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += this.#bytes[i] as number;
    this.#sum = sum;
  }

  /**
   * @param path ASCII; the name field takes what follows its first `split` bytes and a slash, the prefix field those bytes; all of it
   *   is the name where `split` is 0
   */
  put(
    target: Buffer,
    at: number,
    path: string,
    split: number,
    mode: number,
    type: string,
    size: number,
    linkName: string,
  ): void {
    this.#bytes.copy(target, at);
    let sum = this.#sum + putText(target, at + 157, linkName, 0, linkName.length);
    if (split === 0) sum += putText(target, at, path, 0, path.length);
    else sum += putText(target, at + 345, path, 0, split) + putText(target, at, path, split + 1, path.length);
    const flag = type.charCodeAt(0);
    target[at + 156] = flag;
    sum += flag + putOctal(target, at + 100, 7, mode) + putOctal(target, at + 124, 11, size);
    putOctal(target, at + 148, 6, sum);
  }
}

/** Writes part of an ASCII text and returns the sum of its bytes. */
function putText(target: Buffer, at: number, text: string, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) {
    const byte = text.charCodeAt(i);
    target[at + i - from] = byte;
    sum += byte;
  }
  return sum;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function putBytes(target: Buffer, at: number, bytes: ByteString, length: number): void {
  if (bytes.length > 0) target.write(bytes, at, Math.min(bytes.length, length), "latin1");
}

/** GNU: a number of more digits is binary, big-endian, over digits and NUL, the first bit set. */
function putOctalOrBinary(target: Buffer, at: number, digits: number, value: number): void {
  if (value < 8 ** digits) {
    putOctal(target, at, digits, value);
    return;
  }
  let rest = value;
  for (let i = at + digits; i > at; i--) {
    target[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  target[at] = 0x80;
}

/** Writes zero-padded octal digits and returns their sum as bytes. */
function putOctal(target: Buffer, at: number, digits: number, value: number): number {
  let rest = value;
  let sum = 0x30 * digits;
  for (let i = at + digits - 1; i >= at; i--) {
    const digit = rest % 8;
    target[i] = 0x30 + digit;
    sum += digit;
    rest = (rest - digit) / 8;
  }
  // The profiles divert such values into pax records; reaching this is a defect, and a wrong header must never go out.
  if (rest !== 0) throw new OciNixError("limit", `${value} does not fit a tar header field of ${digits} octal digits`);
  return sum;
}
