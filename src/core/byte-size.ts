import { OciNixError } from "./errors.js";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/**
 * Bytes: `500MB`, `1.5 GB`, `1GiB`, `4096`; units in any case, fractions of a byte are dropped.
 * @param where what errors call it
 * @throws OciNixError `usage`
 */
export function parseByteSize(text: string, where: string): number {
  const [, digits = "", unit = ""] = /^(\d{1,15}(?:\.\d{1,15})?) ?([A-Za-z]*)$/.exec(text) ?? [];
  const factor = Object.hasOwn(UNITS, unit.toLowerCase()) ? UNITS[unit.toLowerCase()] : undefined;
  const bytes = digits === "" || factor === undefined ? Number.NaN : Math.floor(Number(digits) * factor);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new OciNixError("usage", `${where}: ${JSON.stringify(text)} is not a size in bytes`, {
    hint: "a number with B, kB, MB, GB or TB, or KiB, MiB, GiB or TiB: 500MB",
  });
}
