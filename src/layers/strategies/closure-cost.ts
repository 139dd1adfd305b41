import { compareStrings } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { integersIn } from "../bit-rows.js";
import { cluster } from "../clustering.js";
import { CostModel } from "../cost-model.js";
import { groupBy } from "../group-by.js";
import { nameOf } from "../package-name.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";
import type { PreviousLayout } from "../previous.js";

/** Store paths that go into one layer whatever else does. */
interface Unit {
  readonly paths: readonly StorePath[];
  /** Whether they are a layer of the previous image. */
  readonly isThere: boolean;
}

/**
 * Splits a closure so that the fewest bytes are expected to be pushed again at releases to come: docs/layers.md has the model. Layers of a
 * previous image that can be the same again are kept, below all others and in their order, as long as that pays.
 *
 * Bottom first: what most store paths refer to. A layer is as shared as the least shared of its paths.
 */
export function planByClosureCost(
  closure: Closure,
  { maxLayers, previous }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  // What is not shipped renames what refers to it all the same.
  const model = new CostModel(closure);
  const units = unitsOf(
    model.graph.paths.filter((path) => !exclude.has(path)),
    model,
    previous,
  );
  const items = units.map(({ paths, isThere }) => ({
    size: model.sizeOf(paths),
    members: paths.length,
    causes: model.causesOf(paths),
    isThere,
  }));
  const groupOf = cluster(items, model.rates, maxLayers);
  const groups = groupBy(units, (_, i) => groupOf[i] as number);
  const layers = [...groups.values()].map((group, i) => {
    const paths = group.flatMap((unit) => unit.paths).sort(compareStrings);
    const isKept = group.length === 1 && (group[0] as Unit).isThere;
    const shared = Math.min(...paths.map((path) => model.dependants[model.idOf(path)] as number));
    return { paths, shared, place: isKept ? i : Number.POSITIVE_INFINITY };
  });
  // Following is for what it keeps.
  if (previous !== undefined && layers.every(({ place }) => place === Number.POSITIVE_INFINITY)) {
    return planByClosureCost(closure, { maxLayers }, exclude);
  }
  layers.sort((a, b) => {
    if (a.place !== b.place) return a.place - b.place;
    return b.shared - a.shared || compareByName(a.paths[0] as StorePath, b.paths[0] as StorePath);
  });
  return layers.map(({ paths, place }) => storeLayer(paths, reasonOf(paths, place !== Number.POSITIVE_INFINITY)));
}

function reasonOf(paths: readonly StorePath[], isKept: boolean): string {
  if (isKept) return "as in the previous image";
  return paths.length === 1 ? "by itself" : "cheapest together";
}

/** No image that runs has more layers; of one that has, the largest are kept. */
const MAX_KEPT = 130;

/** The layers of a previous image that can be kept, bottom first, and everything else; no store path twice. */
function unitsOf(
  shipped: readonly StorePath[],
  model: CostModel,
  previous: PreviousLayout | undefined,
): readonly Unit[] {
  const loose = new Set(shipped);
  const taken = new Set<StorePath>();
  const whole = (previous?.layers ?? []).filter(({ storePaths }) => {
    if (storePaths.length === 0 || !storePaths.every((path) => loose.has(path) && !taken.has(path))) return false;
    for (const path of storePaths) taken.add(path);
    return true;
  });
  const sizes = new Map(whole.map((layer) => [layer, model.sizeOf(layer.storePaths)]));
  const bySize = whole.toSorted((a, b) => (sizes.get(b) as number) - (sizes.get(a) as number));
  const largest = new Set(bySize.slice(0, MAX_KEPT));
  const kept = whole.filter((layer) => largest.has(layer));
  for (const { storePaths } of kept) for (const path of storePaths) loose.delete(path);
  return [
    ...kept.map(({ storePaths }) => ({ paths: storePaths, isThere: true })),
    ...looseUnits([...loose].sort(compareByName), model),
  ];
}

/** Pairs of units are compared, so there must not be too many: what is smallest is put together beforehand. */
const MAX_SINGLE = 400;
const BUCKETS_A_RATE = 8;

/**
 * One unit a store path; where there are many, those beyond the largest in units of what changes about as often. Which unit of several is
 * told by the name alone: so one more or less does not push all others around.
 */
function looseUnits(paths: readonly StorePath[], model: CostModel): readonly Unit[] {
  const single = (path: StorePath): Unit => ({ paths: [path], isThere: false });
  if (paths.length <= MAX_SINGLE) return paths.map(single);
  const bySize = paths.toSorted(
    (a, b) => (model.sizes[model.idOf(b)] as number) - (model.sizes[model.idOf(a)] as number) || compareByName(a, b),
  );
  const large = new Set(bySize.slice(0, MAX_SINGLE));
  const small = paths.filter((path) => !large.has(path));
  const buckets = groupBy(small, (path) => {
    let rate = 0;
    for (const id of integersIn(model.causesOf([path]))) rate += model.rates[id] as number;
    return `${Math.round(Math.log2(rate))} ${numberOf(nameOf(path)) % BUCKETS_A_RATE}`;
  });
  return [
    ...paths.filter((path) => large.has(path)).map(single),
    ...[...buckets.values()].map((bucket) => ({ paths: bucket, isThere: false })),
  ];
}

/** By the name first: it stays when what a path is built from changes. */
function compareByName(a: StorePath, b: StorePath): number {
  return compareStrings(nameOf(a), nameOf(b)) || compareStrings(a, b);
}

/** The same for the same text. */
function numberOf(text: string): number {
  let number = 0;
  for (let i = 0; i < text.length; i++) number = (Math.imul(number, 31) + text.charCodeAt(i)) >>> 0;
  return number;
}
