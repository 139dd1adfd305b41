import { nearest, OciNixError } from "../core/errors.js";
import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import type { Pipeline } from "./pipeline/parse.js";
import { planByPipeline } from "./pipeline/run.js";
import type { LayerPlan, StrategyOptions } from "./plan.js";
import { planByClosureCost } from "./strategies/closure-cost.js";
import { planAsDockertoolsAuto } from "./strategies/dockertools-auto.js";
import { planAsNix2container } from "./strategies/nix2container.js";
import { planPerPath } from "./strategies/per-path.js";
import { planByPopularity } from "./strategies/popularity.js";
import { planAsOneLayer } from "./strategies/single.js";

/** Splits a closure into at most `maxLayers` layers, bottom first. Pure; equal closures give equal plans. */
export type Strategy = (
  closure: Closure,
  options: StrategyOptions,
  exclude: ReadonlySet<StorePath>,
) => readonly LayerPlan[];

const STRATEGIES = {
  "closure-cost": planByClosureCost,
  popularity: planByPopularity,
  "dockertools-auto": planAsDockertoolsAuto,
  "dockertools-popularity": planByPopularity,
  nix2container: planAsNix2container,
  "per-path": planPerPath,
  single: planAsOneLayer,
} as const satisfies Record<string, Strategy>;

export type StrategyName = keyof typeof STRATEGIES;

/** Names of all strategies. */
export const STRATEGY_NAMES = Object.keys(STRATEGIES) as readonly StrategyName[];

/** How closures are split where nothing else is said. */
export const DEFAULT_STRATEGY: StrategyName = "closure-cost";

/** Whether a strategy keeps layers of a previous image. */
export function followsPrevious(strategy: string | Pipeline): boolean {
  return strategy === "closure-cost";
}

/** What `--max-layers` is where nobody says otherwise. */
export const DEFAULT_MAX_LAYERS = 100;

/** `docker load` fails above this: overlay file systems take no more lower directories in one mount. */
export const MAX_LAYERS = 125;

/** @throws OciNixError `limit` or `usage` where `maxLayers` is not an integer between 1 and {@link MAX_LAYERS} */
export function checkMaxLayers(maxLayers: number): void {
  if (!Number.isSafeInteger(maxLayers) || maxLayers < 1) {
    throw new OciNixError(
      "usage",
      `the maximum number of layers must be a whole number of at least 1, not ${maxLayers}`,
    );
  }
  if (maxLayers > MAX_LAYERS) {
    throw new OciNixError(
      "limit",
      `an image of ${maxLayers} layers cannot be run: Docker and podman stop at ${MAX_LAYERS}`,
      {
        hint: `use --max-layers ${MAX_LAYERS} or fewer (default ${DEFAULT_MAX_LAYERS})`,
      },
    );
  }
}

/**
 * Plans the layers of a closure. Every path of the closure that is not excluded is in exactly one layer.
 * @param exclude store paths that are planned with but never shipped
 * @param strategy a name of {@link STRATEGY_NAMES}, or a pipeline, which is held to `maxLayers`, be it infinite, and may remove paths
 * @throws OciNixError `usage` for an unknown strategy, `limit` where `maxLayers` is out of range or cannot be kept; `invalid-input` where
 *   the strategy goes by sizes that are not known, or the pipeline does not fit together
 */
export function planLayers(
  closure: Closure,
  options: StrategyOptions & { readonly strategy: string | Pipeline; readonly exclude?: ReadonlySet<StorePath> },
): readonly LayerPlan[] {
  const { strategy, exclude = new Set(), ...strategyOptions } = options;
  if (typeof strategy !== "string") return planByPipeline(closure, strategy, strategyOptions, exclude);
  checkMaxLayers(options.maxLayers);
  return strategyOf(strategy)(closure, strategyOptions, exclude);
}

function strategyOf(name: string): Strategy {
  if (Object.hasOwn(STRATEGIES, name)) return STRATEGIES[name as StrategyName];
  const near = nearest(name, STRATEGY_NAMES);
  throw new OciNixError("usage", `unknown layer strategy ${JSON.stringify(name)}`, {
    hint: near === undefined ? `one of ${STRATEGY_NAMES.join(", ")}` : `did you mean ${near}?`,
  });
}
