import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";

/** Everything in one layer, by path. */
export function planAsOneLayer(
  closure: Closure,
  _options: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  const paths = [...closure.objects.keys()].filter((path) => !exclude.has(path));
  return paths.length === 0 ? [] : [storeLayer(paths, "all together")];
}
