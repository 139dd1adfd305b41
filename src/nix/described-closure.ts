import { OciNixError } from "../core/errors.js";
import { shownJson } from "../core/json.js";
import { type Closure, createClosure, type StoreObject } from "./closure.js";
import { parseStorePath } from "./store-path.js";

/** A store object as a text describes it: paths are absolute but not checked yet; hash, size and content address are. */
export interface DescribedObject {
  readonly path: string;
  readonly narHash: string | undefined;
  readonly narSize: number | undefined;
  readonly references: readonly string[];
  readonly deriver?: string | undefined;
  readonly ca?: string | undefined;
}

/** What a text says of a closure, in its order and with its repetitions. */
export interface DescribedClosure {
  readonly objects: readonly DescribedObject[];
  /** Where the format names the store directory. */
  readonly storeDir?: string | undefined;
}

/** What a reader of closures needs to know besides the text. */
export interface DescriptionOptions {
  /** Where the text comes from, for errors: a file name. */
  readonly source: string;
  /** The store directory that all paths must be in; by default the one the format names, else the one of the first path. */
  readonly storeDir?: string | undefined;
  /** The paths asked for, see {@link createClosure}; by default those that no other path refers to. */
  readonly roots?: readonly string[] | undefined;
}

/** Checks all paths of a description and makes it a closure. @throws OciNixError as {@link createClosure} and {@link parseStorePath} */
export function buildClosure(described: DescribedClosure, options: DescriptionOptions): Closure {
  const { source, roots } = options;
  const storeDir =
    options.storeDir ??
    described.storeDir ??
    commonStoreDir(
      described.objects.map((object) => object.path),
      source,
    );
  const storePath = (path: string) => {
    try {
      return parseStorePath(path, storeDir);
    } catch (error) {
      if (!(error instanceof OciNixError)) throw error;
      throw new OciNixError(error.code, `${source}: ${error.message}`, { ...(error.hint && { hint: error.hint }) });
    }
  };
  const objects = described.objects.map(
    (object): StoreObject => ({
      path: storePath(object.path),
      narHash: object.narHash,
      narSize: object.narSize,
      references: object.references.map(storePath),
      ...(object.deriver !== undefined && { deriver: storePath(object.deriver) }),
      ...(object.ca !== undefined && { ca: object.ca }),
    }),
  );
  return createClosure({
    storeDir,
    objects,
    source,
    ...(roots !== undefined && { roots: roots.map((root) => parseStorePath(root, storeDir)) }),
  });
}

/** The directory that all store paths are in. @throws OciNixError `invalid-input`: no paths at all, paths of two store directories, or none */
export function commonStoreDir(paths: readonly string[], source: string): string {
  const first = paths[0];
  for (const path of paths) {
    if (directoryOf(path) !== directoryOf(first as string)) {
      throw new OciNixError("invalid-input", `${source} mixes store directories: ${first} and ${path}`, {
        hint: "export one closure from one store",
      });
    }
  }
  if (first === undefined) throw new OciNixError("invalid-input", `${source} holds no store paths`);
  if (!first.startsWith("/") || directoryOf(first) === "") {
    throw new OciNixError("invalid-input", `${source}: ${JSON.stringify(first)} is not a path in a store directory`, {
      hint: "a store path looks like /nix/store/<32 characters>-<name>",
    });
  }
  return directoryOf(first);
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** A size in bytes. @throws OciNixError `invalid-input` unless it is a whole number from 0 to 2^53 - 1 */
export function checkSize(size: unknown, where: string): number {
  if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0) return size;
  throw new OciNixError(
    "invalid-input",
    `${where}: ${typeof size === "number" ? size : shownJson(size)} is not a size in bytes`,
  );
}

/** The hint of every "unknown shape" error. */
export const ACCEPTED_CLOSURES =
  "accepted are: a registration (closureInfo, nix-store --dump-db), an exportReferencesGraph text, .attrs.json of a derivation " +
  "with structured attributes, the output of nix path-info --recursive --json, and JSON [{path, references, narHash, narSize}]";
