import { closeSync, lstatSync, openSync, readFileSync, readlinkSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { type JsonObject, parseJson } from "../core/json.js";
import { findStorePath } from "../nix/store-path.js";
import { isDockertoolsConf } from "./dockertools-conf.js";
import { isSpec } from "./spec.js";

/** What an INPUT turned out to be. */
export type Input =
  | { readonly kind: "spec"; readonly json: JsonObject; readonly source: string }
  | { readonly kind: "dockertools-conf"; readonly json: JsonObject; readonly source: string }
  | { readonly kind: "closure-file"; readonly file: string }
  | { readonly kind: "store-paths"; readonly roots: readonly string[] };

/**
 * Recognises INPUT by its shape: one file that holds a spec, a dockerTools conf.json or a closure graph; else store paths. A path below
 * a store path stands for it, and a symlink that leads into the store (`./result`) for what it leads to. A store path that is itself a
 * JSON file of one of the first two shapes is taken as that file.
 *
 * @throws OciNixError `usage` for no input; `not-found` or `invalid-input` for what is neither a store path nor a file we read
 */
export function recogniseInput(args: readonly string[], storeRoot: string): Input {
  const [first] = args;
  if (first === undefined) {
    throw new OciNixError("usage", "nothing to build: no input is given", {
      hint: "give store paths, a spec file, a conf.json or a closure graph",
    });
  }
  if (args.length === 1) {
    const file = fileOf(first, storeRoot);
    const input = file === undefined ? undefined : recogniseFile(file, findStorePath(first) !== undefined);
    if (input !== undefined) return input;
  }
  return { kind: "store-paths", roots: args.map((arg) => rootOf(arg, storeRoot)) };
}

/** The regular file that an argument names, as it is or as a store path under the store root. */
function fileOf(arg: string, storeRoot: string): string | undefined {
  const candidates = findStorePath(arg) === undefined ? [arg] : [join(storeRoot, arg), arg];
  return candidates.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
}

function recogniseFile(file: string, inStore: boolean): Input | undefined {
  // A store object may be any file, of any size: only one that starts like our JSON is read.
  const start = firstByte(file);
  if (inStore && start !== "{") return undefined;
  if (start === "{") {
    try {
      const json = parseJson(readFileSync(file, "utf8"), file);
      if (isDockertoolsConf(json)) return { kind: "dockertools-conf", json, source: file };
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
      const head = Buffer.alloc(64);
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

function rootOf(arg: string, storeRoot: string): string {
  const prefix = resolve(storeRoot).replace(/\/+$/, "");
  let at = resolve(arg);
  try {
    // Link by link: under another store root a result link leads to a logical path that is not there physically.
    for (let links = 0; links < MAX_LINKS; links++) {
      const found = findStorePath(at.startsWith(`${prefix}/`) ? at.slice(prefix.length) : at);
      if (found !== undefined) return found.storePath;
      if (!lstatSync(at).isSymbolicLink()) break;
      at = resolve(dirname(at), readlinkSync(at));
    }
    const real = findStorePath(realpathSync(at));
    if (real !== undefined) return real.storePath;
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
  throw new OciNixError("invalid-input", `${JSON.stringify(arg)} is not a store path and does not lead to one`, {
    hint: statSync(at).isFile()
      ? "a spec, conf.json or closure graph must be the only input"
      : "give store paths, for example what nix-build prints",
  });
}
