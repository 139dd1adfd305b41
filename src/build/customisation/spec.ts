import { nearest } from "../../core/errors.js";
import { isJsonObject, type Json } from "../../core/json.js";
import { arrayOf, type Check, checkFields, flag, mode, OWNER_FIELDS, text, texts, wrong } from "../spec-checks.js";

interface FileAttributes {
  /** Absolute, without a slash at the end. */
  readonly target: string;
  /** By default 0644, of a directory 0755. */
  readonly mode?: number | undefined;
  /** By default that of the image; `gid`, `uname` and `gname` likewise. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly uname?: string | undefined;
  readonly gname?: string | undefined;
}

/** One thing that is put into the image. */
export type FileSpec = FileAttributes &
  (
    | { readonly text: string }
    /** A file of this machine that is copied. */
    | { readonly path: string }
    | { readonly directory: true }
    /** Target of a symlink; a store path that it leads to is shipped. */
    | { readonly link: string }
  );

export const HELPER_NAMES = ["fakeNss", "binSh", "usrBinEnv", "caCertificates", "shadowSetup"] as const;

/** A helper of dockerTools by its name there. */
export interface HelperSpec {
  readonly name: (typeof HELPER_NAMES)[number];
  /** Of `fakeNss`: lines of `/etc/passwd` between those of root and nobody; likewise for `/etc/group`. */
  readonly extraPasswdLines?: readonly string[] | undefined;
  readonly extraGroupLines?: readonly string[] | undefined;
}

const target: Check<string> = (value, where) => {
  const path = text(value, where);
  if (/^(\/[^/]+)+$/.test(path) && !/\/\.\.?(\/|$)/.test(path)) return path;
  throw wrong(where, 'an absolute path below the root such as "/etc/motd"');
};

/** A script; one without a word in it is none. */
export const script: Check<string | undefined> = (value, where) => {
  if (typeof value !== "string" || /[\0\p{Cs}]/u.test(value)) throw wrong(where, "text, without NUL characters");
  return value.trim() === "" ? undefined : value;
};

/** Checks one of `commandPath`. */
export function checkProgramDirectory(path: string, where: string): string {
  if (path.startsWith("/") && !path.includes(":") && !/\/\.\.?(\/|$)/.test(path)) return path;
  throw wrong(where, "an absolute path without a colon, such as /nix/store/…-coreutils-9.7/bin");
}

const contents: Check<string> = (value, where) => {
  if (typeof value !== "string" || /\p{Cs}/u.test(value)) throw wrong(where, "text");
  return value;
};

const FILE_FIELDS = { target, text: contents, path: text, directory: flag, link: text, mode, ...OWNER_FIELDS } as const;

/** Checks one of `files`. */
export const checkFile: Check<FileSpec> = (value, where) => {
  const { target, text, path, directory, link, ...attributes } = checkFields(value, FILE_FIELDS, where);
  const kinds = [
    ...(text === undefined ? [] : [{ text }]),
    ...(path === undefined ? [] : [{ path }]),
    ...(directory === true ? [{ directory }] : []),
    ...(link === undefined ? [] : [{ link }]),
  ];
  const [kind] = kinds;
  if (target === undefined || kind === undefined || kinds.length > 1) {
    throw wrong(where, 'an object with "target" and one of "text", "path", "link" and "directory": true');
  }
  if (link !== undefined && attributes.mode !== undefined) throw wrong(where, "without mode: a symlink has none");
  return { ...attributes, target, ...kind };
};

const FAKE_NSS_FIELDS = { extraPasswdLines: texts, extraGroupLines: texts } as const;

const helper: Check<HelperSpec> = (value, where) => {
  if (typeof value === "string") return { name: helperName(value, where) };
  const [entry, ...others] = isJsonObject(value) ? value : [];
  if (entry === undefined || others.length > 0) throw wrong(where, 'a name, or {"fakeNss": {"extraPasswdLines": […]}}');
  const [name, options] = [helperName(entry[0], where), entry[1]];
  const fields = name === "fakeNss" ? FAKE_NSS_FIELDS : {};
  return { name, ...checkFields(options, fields, `${where}: ${name}`) };
};

/** Checks `helpers`. */
export const checkHelpers = (value: Json, where: string): readonly HelperSpec[] => {
  const helpers = arrayOf(helper)(value, where);
  const twice = helpers.find(({ name }, i) => helpers.findIndex((other) => other.name === name) < i);
  if (twice !== undefined) throw wrong(where, `without ${twice.name} twice`);
  return helpers;
};

function helperName(name: string, where: string): HelperSpec["name"] {
  const known = HELPER_NAMES.find((each) => each === name);
  if (known !== undefined) return known;
  const near = nearest(name, HELPER_NAMES);
  const meant = near === undefined ? "" : ` (did you mean ${near}?)`;
  throw wrong(where, `one of ${HELPER_NAMES.join(", ")}, not ${JSON.stringify(name)}${meant}`);
}
