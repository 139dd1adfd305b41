import {
  type Closure,
  CostModel,
  customiseSpec,
  DEFAULT_MAX_LAYERS,
  DEFAULT_STRATEGY,
  formatTransport,
  type ImageSpec,
  type LayerPlan,
  narSizeOf,
  type PreviousLayer,
  type PreviousLayout,
  planAllLayers,
  type RebalanceAdvice,
  readSpecBase,
  readSpecPrevious,
  rebalanceAdvice,
  type StorePath,
  storePathsOf,
  type Update,
  updateOf,
} from "../../index.js";
import type { Invocation } from "../command.js";
import { previousOptions } from "../delivery.js";

/** A split, and what can be said of it without reading a file of the store. */
export interface Planned {
  readonly strategy: string;
  /** Undefined where a pipeline has no limit. */
  readonly maxLayers: number | undefined;
  readonly closure: Closure;
  /** The image below, if there is one; its layers are not among the plans. */
  readonly base: { readonly source: string; readonly layers: number } | undefined;
  readonly plans: readonly LayerPlan[];
  /** One a plan. */
  readonly layers: readonly LayerFigures[];
  readonly model: CostModel;
  readonly previous: PreviousLayout | undefined;
  /** Whether the spec names a previous image that is not there. */
  readonly isFirst: boolean;
  readonly update: Update | undefined;
  readonly advice: RebalanceAdvice | undefined;
}

export interface LayerFigures {
  readonly storePaths: readonly StorePath[];
  /** Undefined where nobody knows. */
  readonly narSize: number | undefined;
  readonly reason: string;
  /** Chance 0..1 that a release pushes it again. */
  readonly chanceOfChange: number;
  readonly expectedBytes: number;
}

/**
 * Plans what a spec asks for, running its commands.
 * @throws OciNixError as {@link customiseSpec}, {@link readSpecPrevious} and {@link planAllLayers}
 */
export async function planned(
  asked: ImageSpec,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
): Promise<Planned> {
  const options = previousOptions({ flags, signal });
  const followed = await readSpecPrevious(asked, options);
  const base = await readSpecBase(asked, options);
  const { spec, closure, close } = await customiseSpec(asked, base, { ...options, onlyStorePaths: true });
  close();
  // What is the base's is not this image's to keep or to drop.
  const isOwn = ({ storePaths }: PreviousLayer) => !storePaths.every((path) => base?.storePaths.has(path));
  const previous = followed && { ...followed, layers: followed.layers.filter(isOwn) };
  const plans = planAllLayers(spec, closure, previous, base);
  const isSplit = spec.oneLayer !== true;
  const usual = isSplit ? ([DEFAULT_STRATEGY, DEFAULT_MAX_LAYERS] as const) : (["single", undefined] as const);
  const [anyStrategy, anyLimit] = spec.pipeline === undefined ? usual : ["pipeline"];
  const { strategy = anyStrategy, maxLayers = anyLimit } = spec;
  const model = new CostModel(closure);
  const layers = plans.map((plan): LayerFigures => {
    const storePaths = storePathsOf(plan);
    return {
      storePaths,
      narSize: narSizeOf(plan, closure),
      reason: plan.reason,
      // What is made of all store paths changes with any of them.
      chanceOfChange: model.chanceOfChange(storePaths.length === 0 ? closure.objects.keys() : storePaths),
      expectedBytes: Math.round(model.expectedBytes(storePaths)),
    };
  });
  return {
    strategy,
    maxLayers,
    closure,
    base: base && { source: formatTransport(base.place), layers: base.layers.length },
    plans,
    layers,
    model,
    previous,
    isFirst: spec.previous !== undefined && previous === undefined,
    update: previous && updateOf(closure, plans, previous),
    // A pipeline does not follow a previous image, and without sizes there is nothing to save.
    advice:
      previous === undefined || !isSplit || spec.pipeline !== undefined || !total(layers.map(({ narSize }) => narSize))
        ? undefined
        : rebalanceAdvice(model, plans, planAllLayers(spec, closure, undefined, base), previous),
  };
}

/** The sum; undefined where one is. */
export function total(sizes: readonly (number | undefined)[]): number | undefined {
  let sum = 0;
  for (const size of sizes) {
    if (size === undefined) return undefined;
    sum += size;
  }
  return sum;
}

/** One number as a fraction of another; undefined where one is not known or there is nothing to divide by. */
export function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}
