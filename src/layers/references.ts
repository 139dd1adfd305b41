import { OciNixError } from "../core/errors.js";
import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";

/** Of a graph over small integers: node → the nodes it refers to. */
export type References = readonly (readonly number[])[];

/** Node → the nodes that refer to it. */
export function reversed(references: References): References {
  const users = references.map((): number[] => []);
  for (let node = 0; node < references.length; node++) {
    for (const target of references[node] as readonly number[]) (users[target] as number[]).push(node);
  }
  return users;
}

/** The nodes and everything they refer to, directly or not. */
export function reachableFrom(references: References, nodes: Iterable<number>): Set<number> {
  const found = new Set(nodes);
  // A set is iterated over with what is added on the way.
  for (const node of found) for (const target of references[node] as readonly number[]) found.add(target);
  return found;
}

/** @throws OciNixError `invalid-input` where one is not known */
export function narSizesOf(closure: Closure, paths: readonly StorePath[]): number[] {
  return paths.map((path) => {
    const size = closure.objects.get(path)?.narSize;
    if (size !== undefined) return size;
    throw new OciNixError("invalid-input", `the layers are split by size, but the NAR size of ${path} is not known`, {
      hint: "give a closure graph with sizes, such as that of nix path-info --recursive --json, or use --strategy popularity",
    });
  });
}
