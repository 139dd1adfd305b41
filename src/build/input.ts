import { closeSync, lstatSync, openSync, readlinkSync, readSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import type { JsonObject } from "../core/json.js";
import { readJsonFileSync } from "../core/json-file.js";
import { withoutTrailing } from "../core/trim.js";
import { findStorePath } from "../nix/store-path.js";
import { isNix2containerImage } from "../transport/nix2container.js";
import { isDockertoolsConf } from "./dockertools/conf.js";
import type { ArchiveForm } from "./image-plan.js";
import { isSpec } from "./spec/spec.js";

/** What an INPUT turned out to be. */
export type Input =
  | {
      readonly kind: "spec";
      readonly json: JsonObject;
      readonly source: string;
      /** Of dockerTools' arguments: how the archive is to be streamed. */
      readonly archive?: ArchiveForm;
    }
  | { readonly kind: "dockertools-conf"; readonly json: JsonObject; readonly source: string }
  | { readonly kind: "nix2container-image"; readonly json: JsonObject; readonly source: string }
  | { readonly kind: "closure-file"; readonly file: string }
  | { readonly kind: "store-paths"; readonly roots: readonly string[] };

const STANDARD_INPUT = "/dev/stdin";

/**
 * Recognises INPUT by its shape: one file that holds a spec, a dockerTools conf.json, a nix2container image or a closure graph; else store
 * paths. A path below a store path stands for it, and a symlink that leads into the store (`./result`) for what it leads to. A store
 * path that is itself a JSON file of one of the first three shapes is taken as that file. `-` is a closure graph on standard input.
 *
 * @throws OciNixError `usage` for no input; `not-found` or `invalid-input` for what is neither a store path nor a file we read
 */
export function recogniseInput(args: readonly string[], storeRoot: string): Input {
  const [first] = args;
  if (first === undefined) {
    throw new OciNixError("usage", "nothing to build: no input is given", {
      hint: "give store paths, a spec file, a conf.json, a nix2container image or a closure graph",
    });
  }
  if (args.length === 1 && (first === "-" || first === STANDARD_INPUT)) {
    return { kind: "closure-file", file: STANDARD_INPUT };
  }
  if (args.length === 1) {
    const inStore = pathInStore(first, storeRoot);
    const file = fileOf(inStore === undefined ? [first] : [join(storeRoot, inStore), first]);
    const input = file === undefined ? undefined : recogniseFile(file, inStore !== undefined);
    if (input !== undefined) return input;
  }
  return { kind: "store-paths", roots: args.map((arg) => rootOf(arg, storeRoot)) };
}

/** The first candidate that is a regular file; what cannot be looked at is reported when it is taken for a store path. */
function fileOf(candidates: readonly string[]): string | undefined {
  return candidates.find((path) => {
    try {
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

function recogniseFile(file: string, inStore: boolean): Input | undefined {
  // A store object may be any file, of any size: only one that starts like our JSON is read.
  const start = firstByte(file);
  if (inStore && start !== "{") return undefined;
  if (start === "{") {
    try {
      const json = readJsonFileSync(file);
      if (isDockertoolsConf(json)) return { kind: "dockertools-conf", json, source: file };
      if (isNix2containerImage(json)) return { kind: "nix2container-image", json, source: file };
      if (isSpec(json)) return { kind: "spec", json, source: file };
    } catch (error) {
      if (!inStore) throw error;
    }
  }
  return inStore ? undefined : { kind: "closure-file", file };
}

function firstByte(file: string): string {
  try {
    const fd = openSync(file, "r");
    try {
      const head = Buffer.alloc(4096);
      return head
        .toString("utf8", 0, readSync(fd, head))
        .replace(/^\ufeff/, "")
        .trimStart()
        .slice(0, 1);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

const MAX_LINKS = 40;

/**
 * The logical path in a store that an argument is or leads to, what lies below the store object included; undefined where it leads
 * elsewhere. Link by link: under another store root a result link leads to a logical path that is not there physically.
 * @throws the failed system call's error
 */
function followIntoStore(arg: string, storeRoot: string): string | undefined {
  const prefix = withoutTrailing(resolve(storeRoot), "/");
  const logical = (path: string) => {
    const inside = path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
    return findStorePath(inside) === undefined ? undefined : inside;
  };
  let at = resolve(arg);
  for (let links = 0; links < MAX_LINKS; links++) {
    const found = logical(at);
    if (found !== undefined) return found;
    const link = firstLink(at);
    if (link === undefined) return undefined;
    at = resolve(dirname(link), readlinkSync(link), `.${at.slice(link.length)}`);
  }
  throw Object.assign(new Error(`more than ${MAX_LINKS} links`), { code: "ELOOP" });
}

/** The first symlink on the way to a path, itself included. */
function firstLink(path: string): string | undefined {
  for (let end = path.indexOf("/", 1); ; end = path.indexOf("/", end + 1)) {
    const at = end === -1 ? path : path.slice(0, end);
    if (lstatSync(at).isSymbolicLink()) return at;
    if (end === -1) return undefined;
  }
}

/**
 * The path in a store that an argument is or leads to by symlinks (`./result`), what lies below the store path included; undefined where it
 * leads elsewhere, or nowhere.
 */
export function pathInStore(arg: string, storeRoot: string): string | undefined {
  try {
    return followIntoStore(arg, storeRoot);
  } catch {
    // Whether that matters is seen later.
    return undefined;
  }
}

function rootOf(arg: string, storeRoot: string): string {
  let found: string | undefined;
  try {
    found = arg === "" ? undefined : followIntoStore(arg, storeRoot);
  } catch (error) {
    const missing = errnoOf(error) === "ENOENT";
    throw new OciNixError(
      missing ? "not-found" : "unreadable",
      `${JSON.stringify(arg)} is not a store path${missing ? ", and there is no such file" : `: ${describeErrno(error)}`}`,
      {
        hint: `a store path looks like /nix/store/<32 characters>-<name>; a command of several words is given as --cmd '["a","b"]'`,
      },
    );
  }
  const root = found === undefined ? undefined : findStorePath(found);
  if (root !== undefined) return root.storePath;
  throw new OciNixError("invalid-input", `${JSON.stringify(arg)} is not a store path and does not lead to one`, {
    hint: hintFor(arg),
  });
}

function hintFor(path: string): string {
  if (kindIs(path, "isFile")) return "a spec, conf.json or closure graph must be the only input";
  if (kindIs(path, "isFIFO"))
    return "a pipe cannot be the input: write it to a file, or give a closure graph on standard input as -";
  return "give store paths, for example what nix-build prints";
}

function kindIs(path: string, kind: "isFile" | "isFIFO"): boolean {
  try {
    return statSync(path)[kind]();
  } catch {
    return false;
  }
}
