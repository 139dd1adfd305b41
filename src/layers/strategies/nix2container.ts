import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { type Graph, graphOf } from "../graph.js";
import type { LayerPlan, StrategyOptions } from "../plan.js";
import { onePathALayer } from "./popularity.js";

/** nix2container's split: its order of popularity, one path a layer, the rest in the last one. */
export function planAsNix2container(
  closure: Closure,
  { maxLayers }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  return onePathALayer(nix2containerOrder(graphOf(closure, exclude)), maxLayers);
}

/**
 * nix2container's order of popularity: a path's score is 1 plus the scores of those that refer to it, in 64-bit integers that wrap;
 * highest first, ties to the path that appears last when the graph is read path by path, each followed by its references.
 */
export function nix2containerOrder({ paths, references, topological }: Graph): StorePath[] {
  const score = new Array<bigint>(paths.length).fill(1n);
  for (const id of topological) {
    for (const target of references[id] as readonly number[]) {
      score[target] = BigInt.asIntN(64, (score[target] as bigint) + (score[id] as bigint));
    }
  }
  const appearance = new Map<number, number>();
  const appear = (id: number) => {
    if (!appearance.has(id)) appearance.set(id, appearance.size);
  };
  for (let id = 0; id < paths.length; id++) {
    appear(id);
    for (const target of references[id] as readonly number[]) appear(target);
  }
  return paths
    .map((_, id) => id)
    .sort((a, b) => {
      const [scoreA, scoreB] = [score[a] as bigint, score[b] as bigint];
      if (scoreA !== scoreB) return scoreB > scoreA ? 1 : -1;
      return (appearance.get(b) as number) - (appearance.get(a) as number);
    })
    .map((id) => paths[id] as StorePath);
}
