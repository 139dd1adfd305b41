import type { Closure } from "../nix/closure.js";
import type { LayerPlan } from "./plan.js";
import type { PreviousLayout } from "./previous.js";

/** That a fresh split would pay. */
export interface RebalanceAdvice {
  /** Bytes that a release is expected to push less. */
  readonly savedPerRelease: number;
  /** Bytes that it costs once. */
  readonly costNow: number;
  /** Releases after which it has paid. */
  readonly paysAfter: number;
}

/** Whether a fresh split would pay; undefined where it would not. */
export function rebalanceAdvice(
  _closure: Closure,
  _plans: readonly LayerPlan[],
  _previous: PreviousLayout,
  _options: { readonly strategy: string; readonly maxLayers: number },
): RebalanceAdvice | undefined {
  return undefined;
}
