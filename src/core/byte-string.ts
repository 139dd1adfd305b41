import { compareStrings } from "./errors.js";

/**
 * Bytes held in a JavaScript string, one byte a character (code units 0–255).
 *
 * File names are bytes, not text. As byte strings they keep every byte, compare with `<` in byte order, concatenate
 * without copying, and are their own text where they are ASCII, which nearly all names in a store are.
 */
export type ByteString = string;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is "ASCII", control characters included
const NON_ASCII = /[^\x00-\x7f]/;

/** Whether all bytes are below 128. */
export function isAscii(bytes: string): boolean {
  return !NON_ASCII.test(bytes);
}

/** The bytes of `text` in UTF-8. */
export function encodeUtf8(text: string): ByteString {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** The text for people: UTF-8 decoded, undecodable bytes and control characters as `\xNN`. Not reversible. */
export function displayBytes(bytes: ByteString): string {
  let shown = "";
  for (const unit of decodeSurrogateEscape(bytes)) {
    const code = unit.codePointAt(0) as number;
    if (code >= 0xdc80 && code <= 0xdcff) shown += `\\x${(code - 0xdc00).toString(16)}`;
    else if (code < 0x20 || code === 0x7f) shown += `\\x${code.toString(16).padStart(2, "0")}`;
    else shown += unit;
  }
  return shown;
}

/** The value `fs` calls take for a path: the string itself where it is ASCII, else the raw bytes. */
export function fsPath(bytes: ByteString): string | Buffer {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, "latin1");
}

/** Whether the bytes are well-formed UTF-8 (no surrogates, no overlong forms). */
export function isUtf8(bytes: ByteString): boolean {
  return isAscii(bytes) || !decodeSurrogateEscape(bytes).some((unit) => unit >= "\udc80" && unit <= "\udcff");
}

/**
 * Decodes UTF-8 as Python's `surrogateescape` does: one element a code point, each undecodable byte B as the lone surrogate U+DC00+B.
 */
export function decodeSurrogateEscape(bytes: ByteString): readonly string[] {
  const units: string[] = [];
  for (let i = 0; i < bytes.length; ) {
    const length = utf8SequenceLength(bytes, i);
    if (length === 0) {
      units.push(String.fromCharCode(0xdc00 + bytes.charCodeAt(i)));
      i += 1;
    } else {
      units.push(
        length === 1 ? (bytes[i] as string) : Buffer.from(bytes.slice(i, i + length), "latin1").toString("utf8"),
      );
      i += length;
    }
  }
  return units;
}

/**
 * Orders names by Unicode code point, an undecodable byte B counting as U+DC00+B: the order of Python's `str` for file names.
 * Differs from byte order only where a name holds undecodable bytes.
 */
export function compareByCodePoint(a: ByteString, b: ByteString): number {
  if (isAscii(a) && isAscii(b)) return compareStrings(a, b);
  return compareStrings(codePointKey(a), codePointKey(b));
}

// Generalised UTF-8 keeps code point order as byte order, so lone surrogates are encoded as three bytes.
function codePointKey(bytes: ByteString): ByteString {
  let key = "";
  for (const unit of decodeSurrogateEscape(bytes)) {
    const code = unit.codePointAt(0) as number;
    key +=
      code >= 0xdc80 && code <= 0xdcff
        ? String.fromCharCode(0xed, 0xb2 + ((code - 0xdc80) >> 6), 0x80 + (code & 0x3f))
        : encodeUtf8(unit);
  }
  return key;
}

/** Length of the well-formed UTF-8 sequence at `at`, or 0 where there is none (Unicode standard, table 3-7). */
function utf8SequenceLength(bytes: ByteString, at: number): number {
  const lead = bytes.charCodeAt(at);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  for (let i = 1; i < length; i++) {
    const byte = bytes.charCodeAt(at + i);
    let low = 0x80;
    let high = 0xbf;
    if (i === 1) {
      if (lead === 0xe0) low = 0xa0;
      if (lead === 0xed) high = 0x9f;
      if (lead === 0xf0) low = 0x90;
      if (lead === 0xf4) high = 0x8f;
    }
    if (byte < low || byte > high) return 0;
  }
  return length;
}
