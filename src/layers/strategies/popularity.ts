import { compareStrings } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { type Graph, graphOf } from "../graph.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";

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

/** For each node: its own value plus the values of all nodes that reach it. */
function sumOverUsers(
  references: readonly (readonly number[])[],
  topological: readonly number[],
  values: readonly bigint[],
): bigint[] {
  const words = Math.ceil(references.length / 32);
  const users = references.map(() => new Uint32Array(words));
  const sums = new Array<bigint>(references.length).fill(0n);
  for (const id of topological) {
    const own = users[id] as Uint32Array;
    let sum = values[id] as bigint;
    for (let word = 0; word < words; word++) {
      for (let bits = own[word] as number; bits !== 0; bits &= bits - 1) {
        sum += values[word * 32 + (31 - Math.clz32(bits & -bits))] as bigint;
      }
    }
    sums[id] = sum;
    own[id >>> 5] = (own[id >>> 5] as number) | (1 << (id & 31));
    for (const target of references[id] as readonly number[]) {
      const above = users[target] as Uint32Array;
      for (let word = 0; word < words; word++) above[word] = (above[word] as number) | (own[word] as number);
    }
  }
  return sums;
}
