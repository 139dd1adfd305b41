import { compareStrings } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { graphOf } from "../graph.js";
import { groupBy } from "../group-by.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";
import { narSizesOf, type References, reachableFrom, reversed } from "../references.js";
import { hashOfFrozenset, hashOfString, setOrder } from "./python-set-order.js";

/** A group of paths in the making: all that the same large paths need. */
interface Split {
  /** Node → its group. */
  readonly groupOf: Int32Array;
  /** Large paths that have a group of their own, in the order they were taken. */
  readonly primaries: readonly number[];
  /** Group → the primaries whose dependencies it holds, as bits over `primaries`. */
  readonly groups: readonly bigint[];
}

/**
 * nixpkgs' default split: the largest store paths one after the other get a layer of their own, with what they alone need; what several
 * of them need is a layer for each such set of them. The step that would make too many layers is not taken.
 *
 * Layers are ordered by the size of their closure, so that dependencies come first; ties as nixpkgs' program has them. Excluded paths
 * take part and are left out of what comes out.
 * @throws OciNixError `invalid-input` where a NAR size is not known
 */
export function planAsDockertoolsAuto(
  closure: Closure,
  { maxLayers }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  const { paths, references } = graphOf(closure);
  const sizes = narSizesOf(closure, paths);
  const { groupOf, groups, primaries } = split(references, sizes, maxLayers);
  const keys = paths.map((path) => {
    const dash = path.indexOf("-");
    return { path, name: path.slice(dash + 1), start: path.slice(0, dash) };
  });
  const byName = (a: number, b: number) => {
    const [one, other] = [keys[a] as (typeof keys)[number], keys[b] as (typeof keys)[number]];
    return compareStrings(one.name, other.name) || compareStrings(one.start, other.start);
  };

  const nodesOf = groupBy(paths.keys(), (node) => groupOf[node] as number);
  const hashes = primaries.map((node) => hashOfString(paths[node] as string));
  const layers = [...nodesOf].map(([group, nodes]) => {
    const users = primaries.map((_, i) => i).filter((i) => ((groups[group] as bigint) >> BigInt(i)) & 1n);
    let closureSize = 0;
    for (const node of reachableFrom(references, nodes)) closureSize += sizes[node] as number;
    return {
      paths: nodes.sort(byName).map((node) => paths[node] as StorePath),
      users: users.map((i) => primaries[i] as number).sort(byName),
      hash: hashOfFrozenset(users.map((i) => hashes[i] as bigint)),
      closureSize,
    };
  });
  return setOrder(layers.map((layer) => layer.hash))
    .map((i) => layers[i] as (typeof layers)[number])
    .sort((a, b) => a.closureSize - b.closureSize)
    .flatMap((layer) => {
      const shipped = layer.paths.filter((path) => !exclude.has(path));
      const users = layer.users.map((node) => (keys[node] as (typeof keys)[number]).name);
      return shipped.length === 0 ? [] : [storeLayer(shipped, reasonOf(users))];
    });
}

function split(references: References, sizes: readonly number[], maxLayers: number): Split {
  const users = reversed(references);
  // A stable sort, taken from its end: of equal sizes the last one comes first.
  const bySize = sizes.map((_, node) => node).sort((a, b) => (sizes[a] as number) - (sizes[b] as number));
  const groups: bigint[] = [0n];
  const ids = new Map<bigint, number>([[0n, 0]]);
  const idOf = (group: bigint): number => {
    let id = ids.get(group);
    if (id === undefined) {
      id = groups.length;
      ids.set(group, id);
      groups.push(group);
    }
    return id;
  };
  const primaries: number[] = [];
  const bits = new Map<number, bigint>();
  const bitsOf = (nodes: Iterable<number>): bigint => {
    let sum = 0n;
    for (const node of nodes) sum |= bits.get(node) ?? 0n;
    return sum;
  };
  let groupOf = new Int32Array(references.length);
  // A primary stays in the group of itself alone, so there are never more of them than layers.
  for (let primary = bySize.pop(); primary !== undefined; primary = bySize.pop()) {
    const bit = 1n << BigInt(primaries.length);
    const needed = reachableFrom(references, [primary]);
    needed.delete(primary);
    const above = bitsOf(reachableFrom(users, [primary]));
    const below = bitsOf(needed);
    const next = groupOf.slice();
    next[primary] = idOf(bit);
    const moved = new Map<number, number>();
    for (const node of needed) {
      const old = groupOf[node] as number;
      let id = moved.get(old);
      if (id === undefined) {
        const rest = (groups[old] as bigint) & ~above;
        id = idOf((rest & below) === 0n ? rest | bit : rest);
        moved.set(old, id);
      }
      next[node] = id;
    }
    if (new Set(next).size > maxLayers) break;
    groupOf = next;
    primaries.push(primary);
    bits.set(primary, bit);
  }
  return { groupOf, primaries, groups };
}

const NAMED_USERS = 3;

function reasonOf(users: readonly string[]): string {
  const [first, ...others] = users;
  if (first === undefined) return "what no large path needs";
  if (others.length === 0) return `${first} and what only it needs`;
  const more = users.length - NAMED_USERS;
  return `needed by ${users.slice(0, NAMED_USERS).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
