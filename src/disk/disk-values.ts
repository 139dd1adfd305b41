import { check, parsed, wholeNumber } from "../build/spec/checks.js";
import { JsonNumber, wrong } from "../core/json.js";
import { withoutTrailing } from "../core/trim.js";
import type { BootLoaderKind } from "./boot-loader/boot-loader.js";

/** Longest path that Linux takes. */
const MAX_PATH = 4095;

export const BOOT_LOADERS = ["none", "grub", "systemd-boot", "uki"] as const satisfies readonly BootLoaderKind[];

/** One of several words. */
export const oneOf = <T extends string>(words: readonly T[]) =>
  check({ enum: words }, (value, where): T => {
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    throw wrong(where, `one of ${words.join(", ")}`, value);
  });

const MIB = 2 ** 20;
/** The largest disk, in MiB: what an MBR reaches. */
const LARGEST = 2 * MIB;

const mebibytes = wholeNumber(LARGEST, 1);

/** Bytes of a disk, or as many as it takes. Given in MiB, as make-disk-image takes it. */
export const diskSize = check({ anyOf: [{ const: "auto" }, mebibytes.schema] }, (value, where): number | "auto" => {
  if (value === "auto") return "auto";
  if (!(value instanceof JsonNumber)) throw wrong(where, '"auto" or a number of MiB', value);
  return mebibytes(value, where) * MIB;
});

const LETTERS = "KMGT";

/** Bytes: as for make-disk-image, the M of `512M` is 2^20; so is that of `512MiB`, and that of `512MB` 10^6. */
export const byteSize = parsed(
  (value, where) => {
    const [, digits = "", letter = "", unit = ""] = /^(\d{1,15})(?:([KMGT])(B|iB)?)?$/.exec(value) ?? [];
    const bytes = Number(digits) * (unit === "B" ? 1000 : 1024) ** (letter === "" ? 0 : LETTERS.indexOf(letter) + 1);
    if (digits !== "" && bytes <= LARGEST * MIB) return bytes;
    throw wrong(where, 'a size up to 2 TiB such as "512M", "512MB" or "512MiB"', value);
  },
  { pattern: "^\\d{1,15}([KMGT](B|iB)?)?$" },
);

/** A GUID, in lower case; that of zeros is none to file systems and partition tables. */
export const guid = parsed(
  (value, where) => {
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value) && /[^0-]/.test(value)) return value.toLowerCase();
    throw wrong(where, "a GUID that is not zero, such as F222513B-DED1-49FA-B591-20CE86A2FE7F", value);
  },
  { pattern: "^(?!0{8}(-0{4}){3}-0{12}$)[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" },
);

/** A label that ext4 and a partition table can hold. */
export const label = parsed(
  (value, where) => {
    if (/^[!-~]{1,16}$/.test(value)) return value;
    throw wrong(where, "1 to 16 ASCII characters without spaces", value);
  },
  { pattern: "^[!-~]{1,16}$" },
);

/** The name of a file without directories. */
export const fileName = parsed(
  (value, where) => {
    if (!value.includes("/") && value !== "." && value !== "..") return value;
    throw wrong(where, "a file name without a slash", value);
  },
  { pattern: "^[^/]+$" },
);

/** Where something is in the root file system. */
export const target = parsed(
  (path, where) => {
    const trimmed = withoutTrailing(path, "/");
    if (trimmed.length <= MAX_PATH && /^(\/[^/]+)+$/.test(trimmed) && !/\/\.\.?(\/|$)/.test(trimmed)) return trimmed;
    throw wrong(where, 'an absolute path below the root such as "/etc/motd"', path);
  },
  { pattern: "^/[^\\u0000-\\u001f\\u007f-\\u009f]+$" },
);

/** The name of a user or group, or its number. */
export const ownerName = parsed(
  (value, where) => {
    if (/^[^:,\s]+$/.test(value)) return value;
    throw wrong(where, "the name or the number of a user or group", value);
  },
  { pattern: "^[^:,\\s]+$" },
);
