import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";

/** A closure's reference graph over small integers, self-references dropped; node i is paths[i]. */
export interface Graph {
  readonly paths: readonly StorePath[];
  readonly references: readonly (readonly number[])[];
  /** Nodes in an order in which every node comes before those it refers to; ties in path order. */
  readonly topological: readonly number[];
}

/**
 * @param closure of which the order of the objects and of their references is kept
 * @param exclude left out, with every reference to them
 */
export function graphOf(closure: Pick<Closure, "objects">, exclude: ReadonlySet<StorePath> = new Set()): Graph {
  const paths = [...closure.objects.keys()].filter((path) => !exclude.has(path));
  const ids = new Map(paths.map((path, id) => [path, id]));
  const references = paths.map((path, id) => {
    const object = closure.objects.get(path);
    return (object?.references ?? []).flatMap((reference) => {
      const target = ids.get(reference);
      return target === undefined || target === id ? [] : [target];
    });
  });
  return { paths, references, topological: topologicalOrder(references) };
}

/** Every node before those it refers to; ties in node order. */
export function topologicalOrder(references: readonly (readonly number[])[]): number[] {
  const users = new Uint32Array(references.length);
  for (const targets of references) for (const target of targets) users[target] = (users[target] as number) + 1;
  const order: number[] = [];
  for (let id = 0; id < references.length; id++) if (users[id] === 0) order.push(id);
  for (let i = 0; i < order.length; i++) {
    for (const target of references[order[i] as number] as readonly number[]) {
      users[target] = (users[target] as number) - 1;
      if (users[target] === 0) order.push(target);
    }
  }
  return order;
}
