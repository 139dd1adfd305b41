import type { CostModel } from "../layers/cost-model.js";
import type { LayerPlan } from "../layers/plan.js";
import type { PreviousLayout } from "../layers/previous.js";
import type { RebalanceAdvice } from "../layers/rebalance.js";
import { pathFates, type Update } from "../layers/update.js";
import type { Closure } from "../nix/closure.js";
import { baseNameOf, type StorePath } from "../nix/store-path.js";
import type { LayerData, PageData } from "./client/data.js";

/** A plan, and what is known of it. */
export interface PlanPageInput {
  readonly strategy: string;
  /** Undefined where there is no limit. */
  readonly maxLayers: number | undefined;
  readonly closure: Closure;
  readonly plans: readonly LayerPlan[];
  /** One a plan. */
  readonly layers: readonly {
    readonly storePaths: readonly StorePath[];
    /** Undefined where nobody knows. */
    readonly narSize: number | undefined;
    readonly reason: string;
    readonly chanceOfChange: number;
    readonly expectedBytes: number;
  }[];
  readonly model: Pick<CostModel, "chanceOfChange">;
  /** All three together, or none. */
  readonly previous: PreviousLayout | undefined;
  readonly update: Update | undefined;
  readonly advice: RebalanceAdvice | undefined;
}

/** The part of a plan that the page's script needs: store paths as numbers. */
export function pageDataOf({ closure, plans, layers, model, previous, update }: PlanPageInput): PageData {
  const objects = [...closure.objects.values()];
  const numbers = new Map(objects.map(({ path }, i) => [path, i]));
  const numberOf = (path: StorePath) => numbers.get(path) as number;
  const fates = previous && update && pathFates(plans, previous, update);
  return {
    storeDir: closure.storeDir,
    paths: objects.map(({ path }) => baseNameOf(path)),
    sizes: objects.map(({ narSize }) => narSize ?? null),
    chances: objects.map(({ path }) => rounded(model.chanceOfChange([path]))),
    references: objects.map(({ path, references }) => references.filter((other) => other !== path).map(numberOf)),
    roots: closure.roots.map(numberOf),
    layers: layers.map(
      ({ storePaths, narSize, reason, chanceOfChange, expectedBytes }, i): LayerData => ({
        reason,
        size: narSize ?? null,
        chance: rounded(chanceOfChange),
        expected: expectedBytes,
        items: storePaths.map(numberOf),
        ...(fates === undefined || update === undefined
          ? {}
          : { fates: fates[i] ?? [], isKept: update.fates[i] === "kept" }),
      }),
    ),
    hasPrevious: fates !== undefined,
  };
}

function rounded(chance: number): number {
  return Number(chance.toFixed(4));
}
