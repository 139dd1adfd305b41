import { OciNixError } from "../core/errors.js";
import { shownJson } from "../core/json.js";

/** The digits of Nix's base-32 (no e, o, t, u), in order of value. Nix manual, "Nix32". */
const DIGITS = "0123456789abcdfghijklmnpqrsvwxyz";

const HASH_BYTES: Readonly<Record<string, number>> = { blake3: 32, md5: 16, sha1: 20, sha256: 32, sha512: 64 };

type Encoding = "base16" | "base32" | "base64";

const ENCODING_NAMES: Readonly<Record<string, Encoding>> = {
  base16: "base16",
  base32: "base32",
  nix32: "base32",
  base64: "base64",
};

/** A hash with its algorithm's name (`sha256`) and its raw bytes, as many as the algorithm has. */
export interface Hash {
  readonly algorithm: string;
  readonly bytes: Uint8Array;
}

/** Nix base-32 text of any bytes, `ceil(8n / 5)` characters: the last byte's top bits come first. */
export function encodeNixBase32(bytes: Uint8Array): string {
  let text = "";
  for (let n = Math.ceil((bytes.length * 8) / 5) - 1; n >= 0; n--) {
    const byte = Math.floor((n * 5) / 8);
    const shift = (n * 5) % 8;
    const bits = ((bytes[byte] as number) >> shift) | ((bytes[byte + 1] ?? 0) << (8 - shift));
    text += DIGITS[bits & 31];
  }
  return text;
}

/** The bytes of Nix base-32 text; undefined where it has other characters, or a length or first digit that no bytes give. */
export function decodeNixBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  if (Math.ceil((bytes.length * 8) / 5) !== text.length) return undefined;
  for (let n = 0; n < text.length; n++) {
    const digit = DIGITS.indexOf(text[text.length - 1 - n] as string);
    if (digit < 0) return undefined;
    const byte = Math.floor((n * 5) / 8);
    const shift = (n * 5) % 8;
    bytes[byte] = (bytes[byte] as number) | ((digit << shift) & 255);
    const carry = digit >> (8 - shift);
    if (byte + 1 < bytes.length) bytes[byte + 1] = (bytes[byte + 1] as number) | carry;
    else if (carry !== 0) return undefined;
  }
  return bytes;
}

/**
 * Reads a hash in any form that Nix writes: `sha256:<base-16 or Nix base-32>`, SRI `sha256-<base-64>`, the same digits without a
 * prefix (then it is SHA-256), or the object `{algorithm, format, hash}` with format `base16`, `nix32`, `base32` or `base64`.
 *
 * @param where what the hash belongs to, for errors
 * @throws OciNixError `invalid-input` showing what was found
 */
export function parseHash(value: unknown, where: string): Hash {
  const hash = typeof value === "string" ? parseHashText(value) : parseHashObject(value);
  if (hash === undefined) throw badHash(value, where, "is not a hash");
  return hash;
}

/**
 * A NAR hash as {@link StoreObject} holds it: `sha256:` and 52 characters of Nix base-32. Takes what {@link parseHash} takes.
 *
 * @param where what the hash belongs to, for errors
 * @throws OciNixError `invalid-input` showing what was found: no hash, or of another algorithm
 */
export function normaliseNarHash(value: unknown, where = "narHash"): string {
  const { algorithm, bytes } = parseHash(value, where);
  if (algorithm !== "sha256") throw badHash(value, where, `is a ${algorithm} hash, not a SHA-256`);
  return `sha256:${encodeNixBase32(bytes)}`;
}

function parseHashText(text: string): Hash | undefined {
  const [, algorithm = "sha256", separator, digits = ""] = /^(?:([a-z0-9]+)([:-]))?(.*)$/s.exec(text) ?? [];
  if (separator === "-") return decodeHash(algorithm, "base64", digits);
  return decodeHash(algorithm, "base32", digits) ?? decodeHash(algorithm, "base16", digits);
}

function parseHashObject(value: unknown): Hash | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { algorithm, format, hash } = value as Readonly<Record<string, unknown>>;
  if (typeof algorithm !== "string" || typeof format !== "string" || typeof hash !== "string") return undefined;
  const encoding = Object.hasOwn(ENCODING_NAMES, format) ? ENCODING_NAMES[format] : undefined;
  return encoding === undefined ? undefined : decodeHash(algorithm, encoding, hash);
}

function decodeHash(algorithm: string, encoding: Encoding, digits: string): Hash | undefined {
  const bytes = decodeDigits(encoding, digits);
  const length = Object.hasOwn(HASH_BYTES, algorithm) ? HASH_BYTES[algorithm] : undefined;
  return bytes === undefined || bytes.length !== length ? undefined : { algorithm, bytes };
}

function decodeDigits(encoding: Encoding, digits: string): Uint8Array | undefined {
  if (encoding === "base32") return decodeNixBase32(digits);
  const bytes = Buffer.from(digits, encoding === "base16" ? "hex" : "base64");
  // Node skips what it cannot decode, so only digits that encode back to themselves were read whole.
  return bytes.toString(encoding === "base16" ? "hex" : "base64") === digits ? bytes : undefined;
}

function badHash(found: unknown, where: string, flaw: string): OciNixError {
  return new OciNixError("invalid-input", `${where}: ${shownJson(found)} ${flaw}`, {
    hint: "NAR hashes are written sha256:<52 Nix base-32 digits>, sha256:<64 hex digits> or sha256-<base-64>",
  });
}
