import { compareStrings } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { addedTo, BitRows } from "../bit-rows.js";
import { type Graph, graphOf } from "../graph.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";
import { type References, reversed } from "../references.js";

/** nixpkgs' popularity contest with `limit_layers`: the most popular store paths one a layer, most popular first, the rest in the last. */
export function planByPopularity(
  closure: Closure,
  { maxLayers }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  return onePathALayer(popularityOrder(graphOf(closure, exclude)), maxLayers);
}

/**
 * The paths by popularity, most popular first.
 *
 * A path's popularity is the number of ways to reach it from the roots, plus the same number for each path above it: what nixpkgs'
 * recursion over children counts. It grows exponentially with depth, hence BigInt.
 */
export function popularityOrder({ paths, references, topological }: Graph): StorePath[] {
  const ways = new Array<bigint>(paths.length).fill(0n);
  const referenced = new Set(references.flat());
  for (let id = 0; id < paths.length; id++) if (!referenced.has(id)) ways[id] = 1n;
  for (const id of topological) {
    for (const target of references[id] as readonly number[])
      ways[target] = (ways[target] as bigint) + (ways[id] as bigint);
  }
  const popularity = sumOverUsers(references, topological, ways);
  const keys = paths.map(sortKey);
  return paths
    .map((_, id) => id)
    .sort((a, b) => {
      const difference = (popularity[b] as bigint) - (popularity[a] as bigint);
      if (difference !== 0n) return difference > 0n ? 1 : -1;
      return compareStrings(keys[a] as string, keys[b] as string);
    })
    .map((id) => paths[id] as StorePath);
}

/** The first `maxLayers` − 1 paths alone, in order, and all others in the last layer. */
export function onePathALayer(order: readonly StorePath[], maxLayers: number): LayerPlan[] {
  const alone = order.length <= maxLayers ? order.length : maxLayers - 1;
  const plans = order
    .slice(0, alone)
    .map((path, i) => storeLayer([path], `number ${i + 1} of ${order.length} in popularity`));
  if (alone < order.length)
    plans.push(storeLayer(order.slice(alone), alone === 0 ? "all together" : "the less popular rest"));
  return plans;
}

/** nixpkgs' tie-break: what follows the first dash of the whole path, then what is before it. */
function sortKey(path: StorePath): string {
  const dash = path.indexOf("-");
  return `${path.slice(dash + 1)}-${path.slice(0, dash)}`;
}

/**
 * For each node: its own value plus the values of all nodes from which it is reached.
 *
 * Mostly one of a node's users is reached from nearly all that the others are; its sum is gone on from, so that few values are added.
 */
function sumOverUsers(references: References, topological: readonly number[], values: readonly bigint[]): bigint[] {
  const users = reversed(references);
  /** Each node and all from which it is reached. */
  const above = new BitRows(references.length, references.length);
  const sums = new Array<bigint>(references.length).fill(0n);
  for (const id of topological) {
    const [first, ...others] = users[id] as readonly number[];
    const own = above.row(id);
    let sum = values[id] as bigint;
    if (first !== undefined) {
      const most = others.reduce((a, b) => ((sums[b] as bigint) > (sums[a] as bigint) ? b : a), first);
      own.set(above.row(most));
      sum += sums[most] as bigint;
      for (const user of [first, ...others]) {
        for (const added of addedTo(own, above.row(user))) sum += values[added] as bigint;
      }
    }
    above.set(id, id);
    sums[id] = sum;
  }
  return sums;
}
