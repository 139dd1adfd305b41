import { OciNixError } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { type LayerPlan, type StrategyOptions, storeLayer } from "../plan.js";
import { graphBySize } from "./graph.js";
import { applyAll, flatten, isGraph } from "./operations.js";
import type { Pipeline } from "./parse.js";

/**
 * The layers that a pipeline gives, as in nixpkgs; empty ones are left out. Excluded paths take no part.
 * @throws OciNixError `invalid-input` where an operation gets what it cannot take, the pipeline does not end with layers, or a NAR size is
 *   not known; `limit` for more than `maxLayers` layers, as nothing but the pipeline decides how they are merged
 */
export function planByPipeline(
  closure: Closure,
  { operations, at }: Pipeline,
  { maxLayers }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  const result = applyAll(operations, graphBySize(closure, exclude));
  if (isGraph(result)) {
    throw new OciNixError("invalid-input", `${at} does not end with layers but with a graph`, {
      hint: 'end it with an operation that splits: ["popularity_contest"], ["split_every", 20] and so on',
    });
  }
  const layers = flatten(result).filter(({ paths }) => paths.length > 0);
  if (layers.length > maxLayers) {
    throw new OciNixError("limit", `${at} gives ${layers.length} layers, and there may be ${maxLayers}`, {
      hint: `end it with ["flatten"], ["limit_layers", ${maxLayers}], which merges the last ones`,
    });
  }
  return layers.map(({ paths }, i) => storeLayer(paths, `number ${i + 1} of ${layers.length} of the pipeline`));
}
