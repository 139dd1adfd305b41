import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { graphOf } from "../graph.js";
import { narSizesOf, type References, reachableFrom, reversed } from "../references.js";

/** What the operations of a pipeline work on: some of the store paths, in an order, and references among them. Node i is paths[i]. */
export interface PathGraph {
  readonly paths: readonly StorePath[];
  /** Without self-references. */
  readonly references: References;
}

/**
 * The closure without the excluded paths, smallest first; of equal sizes as in the closure.
 * @throws OciNixError `invalid-input` where a NAR size is not known
 */
export function graphBySize(closure: Closure, exclude: ReadonlySet<StorePath>): PathGraph {
  const graph = graphOf(closure, exclude);
  const sizes = narSizesOf(closure, graph.paths);
  const order = sizes.map((_, node) => node).sort((a, b) => (sizes[a] as number) - (sizes[b] as number));
  return pick(graph, order);
}

/** The nodes of these paths, in no order; paths that the graph lacks are left out. */
export function nodesOf({ paths }: PathGraph, wanted: ReadonlySet<string>): number[] {
  return paths.flatMap((path, node) => (wanted.has(path) ? [node] : []));
}

/** The nodes that are there and those they refer to (`out`), or those that refer to them (`in`), directly or not. */
export function reach({ references }: PathGraph, from: Iterable<number>, mode: "in" | "out"): Set<number> {
  return reachableFrom(mode === "out" ? references : reversed(references), from);
}

/** The graph without any reference to these nodes. */
export function cut({ paths, references }: PathGraph, targets: ReadonlySet<number>): PathGraph {
  return { paths, references: references.map((row) => row.filter((target) => !targets.has(target))) };
}

/** Nodes that no other one refers to. */
export function rootsOf({ paths, references }: PathGraph): number[] {
  const referenced = new Set(references.flat());
  return paths.flatMap((_, node) => (referenced.has(node) ? [] : [node]));
}

/** Of the graph, what satisfies the condition, in the same order. */
export function filter(graph: PathGraph, condition: (node: number) => boolean): PathGraph {
  return pick(
    graph,
    graph.paths.flatMap((_, node) => (condition(node) ? [node] : [])),
  );
}

/** Of the graph, these nodes in this order, and the references among them. */
export function pick({ paths, references }: PathGraph, nodes: readonly number[]): PathGraph {
  const renumbered = new Map(nodes.map((node, i) => [node, i]));
  return {
    paths: nodes.map((node) => paths[node] as StorePath),
    references: nodes.map((node) =>
      (references[node] as readonly number[]).flatMap((target) => renumbered.get(target) ?? []),
    ),
  };
}

/** All of these, one after the other, without references between them. */
export function union(graphs: readonly PathGraph[]): PathGraph {
  let before = 0;
  const references: (readonly number[])[] = [];
  for (const graph of graphs) {
    const offset = before;
    for (const row of graph.references) references.push(row.map((target) => target + offset));
    before += graph.paths.length;
  }
  return { paths: graphs.flatMap((graph) => graph.paths), references };
}
