import type { ByteString } from "../core/byte-string.js";
import { BLOCK } from "./header.js";

/**
 * Reads pax records, `<length> <key>=<value>\n`, the length counting itself; of a repeated key the last value counts.
 * @returns false where they are malformed
 */
export function readPax(payload: Buffer, into: Map<string, ByteString>): boolean {
  for (let at = 0; at < payload.length; ) {
    const space = payload.indexOf(0x20, at);
    const digits = space < 0 || space - at > 8 ? "" : latin1(payload, at, space);
    const end = at + (/^[0-9]+$/.test(digits) ? Number(digits) : 0);
    const equals = payload.indexOf(0x3d, space);
    if (end > payload.length || equals < 0 || equals >= end || payload[end - 1] !== 0x0a) return false;
    into.set(latin1(payload, space + 1, equals), latin1(payload, equals + 1, end - 1));
    at = end;
  }
  return true;
}

/** Octal digits between spaces and NULs, or, with the first bit set, GNU's binary numbers; undefined where it is neither. */
export function headerNumber(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] as number;
  if ((first & 0x80) !== 0) {
    let value = first & 0x40 ? (first & 0x7f) - 0x80 : first & 0x7f;
    for (let i = at + 1; i < at + length; i++) value = value * 256 + (block[i] as number);
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = latin1(block, at, at + length).replace(/^[ \0]+|[ \0].*$/gs, "");
  if (!/^[0-7]*$/.test(digits)) return undefined;
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** The header is older than ustar: it names no owners. */
export function isV7(block: Buffer): boolean {
  return latin1(block, 257, 262) !== "ustar";
}

/** The name that the header itself holds. */
export function ustarName(block: Buffer): ByteString {
  const name = untilNul(block, 0, 100);
  // GNU's magic is "ustar  ": it keeps other things where POSIX has the prefix.
  if (latin1(block, 257, 263) !== "ustar\0") return name;
  const prefix = untilNul(block, 345, 500);
  return prefix === "" ? name : `${prefix}/${name}`;
}

function latin1(bytes: Buffer, from: number, to: number): ByteString {
  return bytes.toString("latin1", from, to);
}

/** Extended attributes among pax records; undefined where there are none. */
export function xattrsOf(pax: ReadonlyMap<string, ByteString>): ReadonlyMap<ByteString, ByteString> | undefined {
  let xattrs: Map<ByteString, ByteString> | undefined;
  for (const [key, value] of pax) {
    if (!key.startsWith(XATTR)) continue;
    xattrs ??= new Map();
    xattrs.set(key.slice(XATTR.length), value);
  }
  return xattrs;
}

const XATTR = "SCHILY.xattr.";

/** The bytes of a field that ends with a NUL or is full. */
export function untilNul(block: Buffer, from: number, to: number): ByteString {
  const nul = block.indexOf(0, from);
  return latin1(block, from, nul < 0 || nul > to ? to : nul);
}

const ZEROS = Buffer.alloc(64 * 1024);

export function isZero(buffer: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += ZEROS.length) {
    const end = Math.min(to, at + ZEROS.length);
    if (buffer.compare(ZEROS, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}

/** The sum of the header's bytes, its own field counting as spaces; old programs took the bytes as signed. */
export function hasChecksum(block: Buffer): boolean {
  let sum = 8 * 0x20;
  let signed = sum;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] as number;
    sum += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const recorded = Number.parseInt(latin1(block, 148, 156).replace(/^[ \0]+|[ \0].*$/gs, ""), 8);
  return recorded === sum || recorded === signed;
}
