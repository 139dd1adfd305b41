import type { StorePath } from "../nix/store-path.js";
import type { CostModel } from "./cost-model.js";
import { type LayerPlan, storePathsOf } from "./plan.js";
import { type PreviousLayout, storePathsKey } from "./previous.js";

/** That a fresh split would pay. */
export interface RebalanceAdvice {
  /** Bytes that a release is expected to push less. */
  readonly savedPerRelease: number;
  /** Bytes that this release pushes more. */
  readonly costNow: number;
  /** Releases after which it has paid. */
  readonly paysAfter: number;
}

type StorePaths = readonly StorePath[];

/** What takes longer to pay is not worth the bother: by then much else has changed. */
const MAX_RELEASES = 10;

/** Savings below this share of the bytes are within what a model can tell. */
const LEAST_SAVING = 0.005;

/**
 * Whether splitting afresh would pay, rather than keeping what the previous image has; undefined where it would not.
 * @param plans that follow the previous image
 * @param fresh of the same closure without one
 */
export function rebalanceAdvice(
  model: CostModel,
  plans: readonly LayerPlan[],
  fresh: readonly LayerPlan[],
  previous: PreviousLayout,
): RebalanceAdvice | undefined {
  const layers = plans.map(storePathsOf);
  const freshLayers = fresh.map(storePathsOf);
  const isThere = new Set(previous.layers.map(({ storePaths }) => storePathsKey(storePaths)));
  const sum = (of: readonly StorePaths[], bytes: (paths: StorePaths) => number) =>
    of.reduce((total, paths) => total + bytes(paths), 0);
  const pushed = (paths: StorePaths) => (isThere.has(storePathsKey(paths)) ? 0 : model.sizeOf(paths));
  const expected = (paths: StorePaths) => model.expectedBytes(paths);
  const savedPerRelease = sum(layers, expected) - sum(freshLayers, expected);
  const costNow = Math.max(sum(freshLayers, pushed) - sum(layers, pushed), 0);
  const least = LEAST_SAVING * sum(layers, (paths) => model.sizeOf(paths));
  if (savedPerRelease < least || savedPerRelease * MAX_RELEASES < costNow) return undefined;
  return {
    savedPerRelease: Math.round(savedPerRelease),
    costNow: Math.round(costNow),
    paysAfter: Math.ceil(costNow / savedPerRelease),
  };
}
