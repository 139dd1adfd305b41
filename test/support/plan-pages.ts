import { CostModel } from "../../src/layers/cost-model.js";
import { type LayerPlan, storePathsOf } from "../../src/layers/plan.js";
import { planLayers } from "../../src/layers/plan-layers.js";
import type { PreviousLayout } from "../../src/layers/previous.js";
import { updateOf } from "../../src/layers/update.js";
import { type Closure, createClosure } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { formatPlanPage } from "../../src/report/plan-page.js";

/** A page of a plan. */
export function planPage(closure: Closure, plans: readonly LayerPlan[], previous?: PreviousLayout): string {
  const model = new CostModel(closure);
  const layers = plans.map((plan) => {
    const storePaths = storePathsOf(plan);
    const narSize = storePaths.reduce((sum, path) => sum + (closure.objects.get(path)?.narSize ?? 0), 0);
    const chanceOfChange = model.chanceOfChange(storePaths);
    return { storePaths, narSize, reason: plan.reason, chanceOfChange, expectedBytes: narSize * chanceOfChange };
  });
  return formatPlanPage({
    strategy: "popularity",
    maxLayers: 60,
    closure,
    plans,
    layers,
    model,
    previous,
    update: previous && updateOf(closure, plans, previous),
    advice: previous && { savedPerRelease: 2_000_000, costNow: 30_000_000, paysAfter: 15 },
  });
}

/** A closure of so many store paths, of sizes from bytes to megabytes, under one root. */
export function chainClosure(count: number, release = 1): Closure {
  const isChanged = (i: number) => i === 0 || (release > 1 && i % 97 === 3);
  const pathOf = (i: number) => {
    const hash = `${isChanged(i) ? release : 0}${String(i).padStart(31, "0")}`;
    return `/nix/store/${hash}-${i === 0 ? "app" : `package${i}`}-${isChanged(i) ? release : 1}.${i % 10}` as StorePath;
  };
  const objects = Array.from({ length: count }, (_, i) => ({
    path: pathOf(i),
    narHash: undefined,
    narSize: Math.floor(Math.exp(6 + ((i * 7919) % 1009) / 100)),
    references: [2 * i + 1, 2 * i + 2, 3 * i + 5].filter((to) => to < count).map(pathOf),
  }));
  return createClosure({ storeDir: "/nix/store", objects, source: "the test" });
}

/** The page of a second release, compared with the first. */
export function updatePage(count: number): string {
  const options = { strategy: "popularity", maxLayers: 60 };
  const before = planLayers(chainClosure(count), options).map((plan) => ({
    storePaths: storePathsOf(plan),
    size: 1000,
  }));
  const closure = chainClosure(count, 2);
  return planPage(closure, planLayers(closure, options), { source: "docker://r.example/app:1", layers: before });
}
