import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import { addTo, type BitRows, integersIn, reachOf } from "./bit-rows.js";
import { type Graph, graphOf } from "./graph.js";

/**
 * Changes a release at store paths that people work on, all together. They are searched for from the roots downwards: a change is as often
 * at a path itself as below it, there at each of its references alike.
 */
const RATE_FROM_ABOVE = 1;

/** Changes a release at any store path, whoever refers to it: security updates and the like. */
const RATE_OF_EACH = 0.0015;

/** How often a layer of several store paths changes because one of them comes or goes, a release. */
const RATE_OF_COMPANY = 0.05;

/**
 * How a closure is expected to change from one release to the next.
 *
 * A change at a store path renames it and every path that refers to it, directly or not; so a layer is pushed again when anything changes
 * that one of its paths is or refers to. Changes come independently of each other, at rates that the graph alone tells: docs/layers.md.
 */
export class CostModel {
  readonly graph: Graph;
  /** Bytes, by node: the NAR's, or 1 where that is not known. */
  readonly sizes: Float64Array;
  /** How many store paths refer to a node, directly or not, itself included. */
  readonly dependants: Uint32Array;
  /** Changes a release that start at a node. */
  readonly rates: Float64Array;
  readonly #reach: BitRows;
  readonly #ids: ReadonlyMap<StorePath, number>;

  constructor(closure: Pick<Closure, "objects">) {
    this.graph = graphOf(closure);
    this.#ids = new Map(this.graph.paths.map((path, id) => [path, id]));
    this.sizes = Float64Array.from(this.graph.paths, (path) => Math.max(closure.objects.get(path)?.narSize ?? 1, 1));
    this.#reach = reachOf(this.graph.references, this.graph.topological);
    this.dependants = countDependants(this.#reach, this.sizes.length);
    this.rates = ratesOf(this.graph, this.dependants);
  }

  /** @throws RangeError where the path is not in the closure */
  idOf(path: StorePath): number {
    const id = this.#ids.get(path);
    if (id === undefined) throw new RangeError(`${path} is not in the closure`);
    return id;
  }

  /** Bytes of these store paths. */
  sizeOf(paths: readonly StorePath[]): number {
    return paths.reduce((sum, path) => sum + (this.sizes[this.idOf(path)] as number), 0);
  }

  /** The nodes at which a change renames one of these store paths, as a set of bits. */
  causesOf(paths: Iterable<StorePath>): Uint32Array {
    const causes = new Uint32Array(this.#reach.words);
    for (const path of paths) addTo(causes, this.#reach.row(this.idOf(path)));
    return causes;
  }

  /** Chance, from 0 to 1, that a release changes a layer of these store paths. */
  chanceOfChange(paths: Iterable<StorePath>): number {
    return chanceOf(this.#rateOf([...paths]));
  }

  /** Bytes that a release is expected to push again where these store paths are a layer. */
  expectedBytes(paths: Iterable<StorePath>): number {
    const all = [...paths];
    return this.sizeOf(all) * chanceOf(this.#rateOf(all));
  }

  #rateOf(paths: readonly StorePath[]): number {
    let rate = rateOfCompany(paths.length);
    for (const id of integersIn(this.causesOf(paths))) rate += this.rates[id] as number;
    return rate;
  }
}

/** What a layer of so many store paths changes more often than they do. */
export function rateOfCompany(members: number): number {
  return members > 1 ? RATE_OF_COMPANY : 0;
}

/** Chance that something happens at all that comes at this rate. */
function chanceOf(rate: number): number {
  return -Math.expm1(-rate);
}

function ratesOf({ references, topological }: Graph, dependants: Uint32Array): Float64Array {
  const isReferenced = new Set(references.flat());
  const roots = topological.filter((id) => !isReferenced.has(id));
  const arriving = new Float64Array(references.length);
  for (const root of roots) arriving[root] = RATE_FROM_ABOVE / roots.length;
  const rates = new Float64Array(references.length);
  for (const id of topological) {
    const targets = references[id] as readonly number[];
    const half = (arriving[id] as number) / 2;
    rates[id] = RATE_OF_EACH + half / (dependants[id] as number);
    for (const target of targets) arriving[target] = (arriving[target] as number) + half / targets.length;
  }
  return rates;
}

function countDependants(reach: BitRows, nodes: number): Uint32Array {
  const counts = new Uint32Array(nodes);
  for (let id = 0; id < nodes; id++) {
    for (const target of integersIn(reach.row(id))) counts[target] = (counts[target] as number) + 1;
  }
  return counts;
}
