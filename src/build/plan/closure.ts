import { type Closure, emptyClosure } from "../../nix/closure.js";
import { readLocalClosure } from "../../nix/local-database.js";
import { readClosureFile } from "../../nix/read-closure.js";
import { DEFAULT_STORE_DIR, type StorePath } from "../../nix/store-path.js";
import { customisationRoots } from "../customisation/customisation.js";
import { storePathsIn } from "../customisation/references.js";
import type { ClosureSpec } from "../spec/parts.js";
import type { ImageSpec } from "../spec/spec.js";

/**
 * Reads a closure: from a graph file where one is given, else from the Nix database.
 * @throws OciNixError see {@link readClosureFile} and {@link readLocalClosure}
 */
export async function readClosure({ roots, graph, storeRoot, storeDir }: ClosureSpec): Promise<Closure> {
  const dir = storeDir === undefined ? {} : { storeDir };
  if (graph !== undefined) return await readClosureFile(graph, { ...(roots === undefined ? {} : { roots }), ...dir });
  return await readLocalClosure(roots ?? [], { storeRoot: storeRoot ?? "/", ...dir });
}

/**
 * The closure of everything that a spec ships; where its lists name nothing, that is nothing.
 * @throws OciNixError as {@link readClosure}; `not-found` for a store path that the graph lacks
 */
export async function readSpecClosure(spec: ImageSpec): Promise<Closure> {
  const { roots, graph } = spec.closure;
  const named = [spec, ...(spec.layers ?? [])].flatMap((group) => [
    ...(("deps" in group ? group.deps : undefined) ?? []),
    ...(group.copyToRoot ?? []),
  ]);
  // Without roots a graph is taken whole.
  if (graph !== undefined && roots === undefined) return await readClosure(spec.closure);
  const wanted = [...(roots ?? []), ...named, ...customisationRoots(spec)];
  if (wanted.length === 0) return emptyClosure(spec.closure.storeDir ?? DEFAULT_STORE_DIR);
  return await readClosure({ ...spec.closure, roots: wanted });
}

/** Every store path that can be shipped. */
export async function knownPaths(spec: ImageSpec, closure: Closure): Promise<Iterable<StorePath>> {
  const { graph, storeRoot = "/" } = spec.closure;
  if (graph === undefined)
    return [...storePathsIn({ storeRoot, storeDir: closure.storeDir }), ...closure.objects.keys()];
  // What comes through a pipe cannot be read again.
  if (graph === "/dev/stdin") return closure.objects.keys();
  return (await readClosure({ ...spec.closure, roots: undefined })).objects.keys();
}
