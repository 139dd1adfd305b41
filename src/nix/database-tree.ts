import { encodeUtf8 } from "../core/byte-string.js";
import { compareStrings } from "../core/errors.js";
import type { GeneratedObject } from "../core/generated-object.js";
import type { Ownership } from "../core/ownership.js";
import type { StoreObject } from "./closure.js";
import { formatNixDatabase, SCHEMA_VERSION } from "./database-writer.js";
import { readDerivation } from "./derivation.js";
import { baseNameOf, isDerivation, stateDirOf } from "./store-path.js";

/** How a Nix database and what belongs to it are made. */
export interface DatabaseTreeOptions {
  readonly storeDir: string;
  /** Where the store's files are, for derivations among the objects: `/nix/store/x.drv` is read from `<storeRoot>/nix/store/x.drv`. */
  readonly storeRoot: string;
  /** Who may use the store without a daemon. Of everything, the store directory and what is above it included. */
  readonly owner: Ownership;
  /** By default 0755, as Nix makes them. */
  readonly directoryMode?: number | undefined;
  /** Of the database and its schema file; by default 0644, as Nix makes them. */
  readonly fileMode?: number | undefined;
  /** Nix's state directory; by default beside the store. */
  readonly stateDir?: string | undefined;
}

/**
 * What Nix needs to find, besides the store paths, to take a file system for its own: the database and its version, a root for every
 * store path so that the garbage collector keeps it, and the directories above them. Each directory comes before what is in it, and the
 * database last, so that it is there only once all else is.
 *
 * All other directories and locks (profiles, temproots, …) Nix makes when it first opens the store, which it can, as it owns `/nix/var/nix`.
 *
 * @param objects what is in `storeDir`, all of it and nothing else
 * @throws OciNixError see {@link formatNixDatabase} and {@link readDerivation}
 */
export function nixDatabaseTree(
  objects: Iterable<StoreObject>,
  options: DatabaseTreeOptions,
): readonly GeneratedObject[] {
  const { storeDir, storeRoot, owner, directoryMode = 0o755, fileMode = 0o644 } = options;
  const stateDir = options.stateDir ?? stateDirOf(storeDir);
  const given = [...objects];
  const paths = [...new Set(given.map(({ path }) => path))].sort(compareStrings);
  const hint = "say with --store-root where the store is, or leave derivations out of the closure";
  const derivations = paths.filter(isDerivation);
  const outputs = new Map(derivations.map((path) => [path, readDerivation(path, storeRoot, hint).outputs]));
  const database = formatNixDatabase(given, outputs);

  const roots = `${stateDir}/gcroots/docker`;
  const directories = sortedWithParents(
    // Nix makes .links, too, but only a user who may write to the store can.
    [`${storeDir}/.links`, `${stateDir}/db`, roots],
    commonParent(storeDir, stateDir),
  );
  const at = (path: string) => ({ path: encodeUtf8(path), owner });
  return [
    ...directories.map((path) => ({ ...at(path), type: "directory", mode: directoryMode }) as const),
    ...paths.map(
      (path) =>
        ({
          ...at(`${roots}/${baseNameOf(path)}`),
          type: "symlink",
          mode: 0o777,
          linkTarget: encodeUtf8(path),
        }) as const,
    ),
    { ...at(`${stateDir}/db/schema`), type: "file", mode: fileMode, contents: Buffer.from(SCHEMA_VERSION) },
    { ...at(`${stateDir}/db/db.sqlite`), type: "file", mode: fileMode, contents: database },
  ];
}

/** `/nix` for `/nix/store` and `/nix/var/nix`; empty where they share the root alone, which is nobody's to give away. */
function commonParent(a: string, b: string): string {
  const components = a.split("/");
  const others = b.split("/");
  let shared = 0;
  while (shared < components.length && components[shared] === others[shared]) shared++;
  return components.slice(0, shared).join("/");
}

/** The directories and those above them, down from `top`, each after its parent. What is above `top` belongs to others. */
function sortedWithParents(directories: readonly string[], top: string): readonly string[] {
  const all = new Set<string>();
  for (const directory of directories) {
    const components = directory.split("/");
    for (let n = Math.max(2, top.split("/").length); n <= components.length; n++) {
      all.add(components.slice(0, n).join("/"));
    }
  }
  return [...all].sort(compareStrings);
}
