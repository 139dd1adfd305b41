import { OciNixError } from "../../core/errors.js";
import { wrong } from "../../core/json.js";
import { compileRegex } from "../../core/regex.js";
import { withoutTrailing } from "../../core/trim.js";
import type { Inheritance } from "../../oci/inherit-config.js";
import { check, parsed, wholeNumber } from "./checks.js";

/** Longest path that Linux takes. */
const MAX_PATH = 4095;

/** An RE2 expression. */
export const regex = check({ type: "string" }, (value, where) => {
  // An empty one matches everything, as for nix2container.
  if (typeof value !== "string") throw wrong(where, "a string", value);
  compileRegex(value, where);
  return value;
});

export const inheritance = check({ enum: [true, false, "all", "env", "none"] }, (value, where): Inheritance => {
  if (value === true || value === "all") return "all";
  if (value === false || value === "none") return "none";
  if (value === "env") return "env";
  throw wrong(where, 'true, false or "env"', value);
});

/** A shell script; one without a word in it is none. */
export const script = check({ type: "string" }, (value, where): string | undefined => {
  if (typeof value !== "string" || /[\0\p{Cs}]/u.test(value)) throw wrong(where, "the text of a shell script", value);
  return value.trim() === "" ? undefined : value;
});

/** A directory that can be in PATH. */
export const programDirectory = parsed(
  (path, where) => {
    if (path.startsWith("/") && !path.includes(":") && !/\/\.\.?(\/|$)/.test(path)) return path;
    throw wrong(where, "an absolute path without a colon, such as /nix/store/…-coreutils-9.7/bin", path);
  },
  { pattern: "^/[^:\\u0000-\\u001f\\u007f-\\u009f]*$" },
);

/** A file or a directory of this machine, wherever the spec is. */
export const absolutePath = parsed(
  (path, where) => {
    if (path.startsWith("/")) return path;
    throw wrong(where, "an absolute path", path);
  },
  { pattern: "^/" },
);

/** What GOARCH calls the machines that uname and Nix call otherwise. */
const GOARCH: Readonly<Record<string, string>> = {
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  i686: "386",
  i386: "386",
  armv7l: "arm (with variant v7)",
  armv6l: "arm (with variant v6)",
};

export const architecture = parsed(checkArchitecture);

function checkArchitecture(architecture: string, where: string): string {
  if (!Object.hasOwn(GOARCH, architecture) && /^[a-z0-9_]+$/.test(architecture)) return architecture;
  const go = GOARCH[architecture];
  throw new OciNixError(
    "invalid-input",
    `${where}: ${JSON.stringify(architecture)} is not an architecture as images name it (GOARCH)`,
    { hint: go === undefined ? "for example amd64, arm64, riscv64" : `it is called ${go}` },
  );
}

export const storeDirectory = parsed(checkStoreDir);

function checkStoreDir(directory: string, where: string): string {
  const trimmed = withoutTrailing(directory, "/");
  if (trimmed.length <= MAX_PATH && /^(\/[^/]+)+$/.test(trimmed) && !/\/\.\.?(\/|$)/.test(trimmed)) return trimmed;
  throw wrong(where, "an absolute path such as /nix/store", directory);
}

/** Of disks and of memory, as much as a machine can have. */
export const mebibytes = wholeNumber(2 ** 30, 1);
