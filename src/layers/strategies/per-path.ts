import { OciNixError } from "../../core/errors.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { graphOf } from "../graph.js";
import type { LayerPlan, StrategyOptions } from "../plan.js";
import { onePathALayer, popularityOrder } from "./popularity.js";

/** Every store path in a layer of its own, most popular first. @throws OciNixError `limit` where there are more than `maxLayers` */
export function planPerPath(
  closure: Closure,
  { maxLayers }: StrategyOptions,
  exclude: ReadonlySet<StorePath> = new Set(),
): LayerPlan[] {
  const order = popularityOrder(graphOf(closure, exclude));
  if (order.length > maxLayers) {
    throw new OciNixError(
      "limit",
      `${order.length} store paths are too many for a layer each: there may be ${maxLayers} ${maxLayers === 1 ? "layer" : "layers"}`,
      { hint: "allow more layers, exclude store paths, or use another strategy" },
    );
  }
  return onePathALayer(order, maxLayers);
}
