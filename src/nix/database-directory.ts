import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../core/errors.js";
import { writeGeneratedObjects } from "../core/generated-object-writer.js";
import { removeLeftovers } from "../core/temporary.js";
import type { StoreObject } from "./closure.js";
import { type DatabaseTreeOptions, nixDatabaseTree } from "./database-tree.js";
import { stateDirOf } from "./store-path.js";

/** What SQLite would take for changes to a database of this name, whoever wrote it: a write-ahead log, a journal. */
const LEFTOVERS = ["-wal", "-journal"];

/**
 * Makes the tree of {@link nixDatabaseTree} below a directory, which then is a root file system for Nix (`NIX_REMOTE=local?root=DIR`) once
 * the store paths are in it. A database that is there already is never overwritten; the same one, untouched, is left as it is.
 *
 * @returns the database's file and its size in bytes
 * @throws OciNixError as {@link nixDatabaseTree} and {@link writeGeneratedObjects}; `conflict` for what is left of another database
 */
export function writeNixDatabase(
  objects: Iterable<StoreObject>,
  directory: string,
  options: DatabaseTreeOptions,
): { readonly file: string; readonly size: number } {
  const tree = nixDatabaseTree(objects, options);
  const file = join(directory, options.stateDir ?? stateDirOf(options.storeDir), "db/db.sqlite");
  for (const end of LEFTOVERS) {
    if (!existsSync(file + end)) continue;
    throw new OciNixError("conflict", `${file}${end} is there: nothing was written`, {
      hint: "Nix has its database open, or was killed; write to another directory, or move it away first",
    });
  }
  removeLeftovers(directory);
  for (const { path, type } of tree) if (type === "directory") removeLeftovers(`${directory}${path}`);
  writeGeneratedObjects(tree, directory);
  return { file, size: statSync(file).size };
}
