import { dirname, join } from "node:path";
import { OciNixError } from "../core/errors.js";

/** Absolute path of a store object, `<storeDir>/<32 base-32 characters>-<name>`, nothing below it. Nix manual, "Store Path". */
export type StorePath = string & { readonly StorePath: unique symbol };

export const DEFAULT_STORE_DIR = "/nix/store";

const HASH_LENGTH = 32;
const BASE_NAME = /^[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+\-._?=]{1,211}$/;

/** What is wrong with a store object's base name (`<hash>-<name>`), or undefined where it is valid. */
function flawOfBaseName(baseName: string): string | undefined {
  if (!BASE_NAME.test(baseName)) {
    if (baseName.length > HASH_LENGTH + 1 + 211) return "its name is longer than 211 characters";
    if (!/^[0-9abcdfghijklmnpqrsvwxyz]{32}-/.test(baseName)) {
      return "it does not start with 32 characters of Nix base-32 and a dash";
    }
    return "its name holds characters other than letters, digits and +-._?=";
  }
  // Nix rejects these since a name becomes part of file names beside the object (`.lock`, `.links`).
  if (/^(\.|\.\.)(-|$)/.test(baseName.slice(HASH_LENGTH + 1)))
    return "its name may not be or start with a dot component";
  return undefined;
}

/**
 * Checks that `path` names a store object of `storeDir` exactly.
 * @throws OciNixError `invalid-input` saying what is wrong with it
 */
export function parseStorePath(path: string, storeDir: string = DEFAULT_STORE_DIR): StorePath {
  const flaw = path.startsWith(`${storeDir}/`)
    ? flawOfBaseName(path.slice(storeDir.length + 1))
    : `it is not directly below the store directory ${storeDir}`;
  if (flaw !== undefined) {
    throw new OciNixError("invalid-input", `${JSON.stringify(path)} is not a store path: ${flaw}`, {
      hint: `a store path looks like ${storeDir}/<32 characters>-<name>`,
    });
  }
  return path as StorePath;
}

/**
 * The store object that `path` names or lies in (`…/nix/store/<hash>-<name>/bin/x` gives the object), and its store directory,
 * judged by the path's text alone; undefined where no component looks like a store object.
 */
export function findStorePath(path: string): { readonly storePath: StorePath; readonly storeDir: string } | undefined {
  const components = path.split("/");
  for (let i = 1; i < components.length; i++) {
    if (flawOfBaseName(components[i] as string) !== undefined) continue;
    const storeDir = components.slice(0, i).join("/");
    if (storeDir.startsWith("/")) return { storePath: `${storeDir}/${components[i]}` as StorePath, storeDir };
  }
  return undefined;
}

/** The store paths of a store directory that a text names, in order; what follows a name that could belong to it counts as part of it. */
export function storePathsNamedIn(text: string, storeDir: string): readonly StorePath[] {
  const pieces = text.split(`${storeDir}/`).slice(1);
  return pieces.flatMap((piece) => {
    const [baseName = ""] = /^[0-9a-zA-Z+\-._?=]*/.exec(piece) ?? [];
    return flawOfBaseName(baseName) === undefined ? [`${storeDir}/${baseName}` as StorePath] : [];
  });
}

/** The store directory of a store path. */
export function storeDirOf(path: StorePath): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** `<hash>-<name>`: the last component. */
export function baseNameOf(path: StorePath): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Where Nix keeps a store's database and roots by default: beside the store, `/nix/var/nix` for `/nix/store`. */
export function stateDirOf(storeDir: string): string {
  return join(dirname(storeDir), "var/nix");
}

/** Whether a store path is a derivation (`.drv`), which Nix judges by its name alone. */
export function isDerivation(path: StorePath): boolean {
  return path.endsWith(".drv");
}
