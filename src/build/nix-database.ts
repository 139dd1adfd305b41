import { writeNixDatabase } from "../nix/database-directory.js";
import { readSpecClosure } from "./plan/closure.js";
import { databaseModes, databaseOwner, objectsIn, planSpecLayers } from "./plan/layers.js";
import type { ImageSpec } from "./spec/spec.js";

/** What a Nix database came to. */
export interface NixDatabaseSummary {
  /** The database's file. */
  readonly database: string;
  /** Its size in bytes. */
  readonly size: number;
  /** How many store paths are in it. */
  readonly storePaths: number;
}

/**
 * Writes the Nix database that a spec's image would have below a directory: of the store paths that are shipped at their own place. The
 * closure alone is read, and the derivations in it; the store paths need not be there.
 *
 * @throws OciNixError see {@link readSpecClosure}, {@link planSpecLayers} and {@link writeNixDatabase}
 */
export async function makeNixDatabase(spec: ImageSpec, directory: string): Promise<NixDatabaseSummary> {
  const closure = await readSpecClosure(spec);
  const objects = objectsIn(planSpecLayers(spec, closure), closure);
  const { file, size } = writeNixDatabase(objects, directory, {
    storeDir: closure.storeDir,
    storeRoot: spec.closure.storeRoot ?? "/",
    owner: databaseOwner(spec),
    ...databaseModes(spec),
  });
  return { database: file, size, storePaths: objects.length };
}
