import { writeNixDatabase } from "../nix/database-directory.js";
import { ownership } from "./file-tree.js";
import { excludedPaths, readClosure } from "./plan-image.js";
import type { ImageSpec } from "./spec.js";

export interface NixDatabaseSummary {
  /** The database's file. */
  readonly database: string;
  /** Its size in bytes. */
  readonly size: number;
  /** How many store paths are in it. */
  readonly storePaths: number;
}

/**
 * Writes the Nix database of a spec's closure, without what the spec excludes, below a directory. The closure alone is read, and the
 * derivations in it; the store paths need not be there.
 *
 * @throws OciNixError see {@link readClosure} and {@link writeNixDatabase}
 */
export async function makeNixDatabase(spec: ImageSpec, directory: string): Promise<NixDatabaseSummary> {
  const closure = await readClosure(spec.closure);
  const excluded = excludedPaths(spec, closure);
  const objects = [...closure.objects.values()].filter(({ path }) => !excluded.has(path));
  const { uid = 0, gid = 0 } = spec;
  const { file, size } = writeNixDatabase(objects, directory, {
    storeDir: closure.storeDir,
    storeRoot: spec.closure.storeRoot ?? "/",
    // A directory has no names of users.
    owner: ownership(uid, gid, "", ""),
  });
  return { database: file, size, storePaths: objects.length };
}
