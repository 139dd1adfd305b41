import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import { packageNameOf } from "./package-name.js";
import { type LayerPlan, storePathsOf } from "./plan.js";
import { type PreviousLayout, storePathsKey } from "./previous.js";

/** Whether the previous image has the layer. */
export type LayerFate = "kept" | "uploaded";

/** How many layers, and how much that is. */
export interface Amount {
  readonly layers: number;
  /** Undefined where nobody knows all sizes. */
  readonly bytes: number | undefined;
}

/** What an image is to the one before it, judged by store paths alone. */
export interface Update {
  /** What messages call the previous image. */
  readonly source: string;
  /** One a layer, bottom first. */
  readonly fates: readonly LayerFate[];
  /** In NAR bytes, as everything but {@link dropped}. */
  readonly kept: Amount;
  readonly uploaded: Amount;
  /** Layers of the previous image that this one lacks; bytes as they are stored. */
  readonly dropped: Amount;
  /** NAR bytes of store paths that the previous image lacks: no update can upload less. */
  readonly idealBytes: number | undefined;
}

/**
 * Compares planned layers with those of an image that is there. A layer is kept if it holds the same store paths as one of the
 * previous image, all at their own place and with their own permissions; owners and contents are not looked at.
 */
export function updateOf(closure: Closure, plans: readonly LayerPlan[], previous: PreviousLayout): Update {
  const before = new Set(previous.layers.map(({ storePaths }) => storePathsKey(storePaths)));
  const fates = plans.map((plan) => (before.has(keyOfPlan(plan) ?? "") ? "kept" : "uploaded"));
  const after = new Set(plans.map(keyOfPlan));
  const having = (fate: LayerFate): Amount => {
    const which = plans.filter((_, i) => fates[i] === fate);
    return { layers: which.length, bytes: sum(which.flatMap(storePathsOf).map((path) => narSize(closure, path))) };
  };
  const dropped = previous.layers.filter(({ storePaths }) => !after.has(storePathsKey(storePaths)));
  const held = new Set(previous.layers.flatMap(({ storePaths }) => storePaths));
  const lacking = [...new Set(plans.flatMap(storePathsOf))].filter((path) => !held.has(path));
  return {
    source: previous.source,
    fates,
    kept: having("kept"),
    uploaded: having("uploaded"),
    dropped: { layers: dropped.length, bytes: sum(dropped.map(({ size }) => size)) },
    idealBytes: sum(lacking.map((path) => narSize(closure, path))),
  };
}

/**
 * What becomes of a store path: it stays in a layer that is kept; it is sent again, unchanged, in another layer; the previous image has
 * one of the same name but for version and hash; it has none.
 */
export type PathFate = "kept" | "again" | "changed" | "new";

/** The fate of each content of each plan, in their order. */
export function pathFates(
  plans: readonly LayerPlan[],
  previous: PreviousLayout,
  { fates }: Pick<Update, "fates">,
): readonly (readonly PathFate[])[] {
  const held = new Set(previous.layers.flatMap(({ storePaths }) => storePaths));
  const names = new Set([...held].map(packageNameOf));
  const fateOf = (path: StorePath): PathFate =>
    held.has(path) ? "again" : names.has(packageNameOf(path)) ? "changed" : "new";
  return plans.map((plan, i) => storePathsOf(plan).map((path) => (fates[i] === "kept" ? "kept" : fateOf(path))));
}

/** Undefined where something is not a store path as it is in the store, or there is nothing. */
function keyOfPlan(plan: LayerPlan): string | undefined {
  const isAsInStore = plan.contents.every(({ rewrite, permissions }) => (rewrite ?? permissions) === undefined);
  const isPlain = plan.generated === undefined && isAsInStore;
  return isPlain && plan.contents.length > 0 ? storePathsKey(storePathsOf(plan)) : undefined;
}

function narSize(closure: Closure, path: StorePath): number | undefined {
  return closure.objects.get(path)?.narSize;
}

function sum(sizes: readonly (number | undefined)[]): number | undefined {
  let total = 0;
  for (const size of sizes) {
    if (size === undefined) return undefined;
    total += size;
  }
  return total;
}
