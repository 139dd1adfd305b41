import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { storePathsOf } from "../../src/layers/plan.js";
import { MAX_LAYERS, planLayers, STRATEGY_NAMES } from "../../src/layers/plan-layers.js";
import { createClosure, type StoreObject } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";

const path = (i: number) => `/nix/store/${String(i).padStart(32, "0")}-p${i % 7}` as StorePath;

/** Objects that refer to later ones and themselves, and the same in another order. */
const graphs = fc.nat({ max: 60 }).chain((last) =>
  fc
    .array(fc.array(fc.nat({ max: 20 }), { maxLength: 6 }), { minLength: last + 1, maxLength: last + 1 })
    .map((steps) =>
      steps.map(
        (row, i): StoreObject => ({
          path: path(i),
          narHash: undefined,
          narSize: i,
          references: [...new Set(row.map((step) => Math.min(i + step, last)))].map(path),
        }),
      ),
    )
    .chain((objects) => fc.tuple(fc.constant(objects), fc.shuffledSubarray(objects, { minLength: objects.length }))),
);

const closureOf = (objects: readonly StoreObject[]) =>
  createClosure({ storeDir: "/nix/store", objects: objects.map((object) => ({ ...object })), source: "the test" });

describe.each(STRATEGY_NAMES)("the %s strategy", (strategy) => {
  it("puts every path that is not excluded into one layer of at most as many as allowed, whatever the input's order", () => {
    fc.assert(
      fc.property(
        graphs,
        fc.integer({ min: 1, max: MAX_LAYERS }),
        fc.func(fc.boolean()),
        ([objects, shuffled], maxLayers, isExcluded) => {
          const exclude = new Set(objects.map((object) => object.path).filter((candidate) => isExcluded(candidate)));
          const plans = planLayers(closureOf(objects), { strategy, maxLayers, exclude });
          expect(plans.length).toBeLessThanOrEqual(maxLayers);
          for (const plan of plans) expect(plan.contents.length).toBeGreaterThan(0);
          const planned = plans.flatMap(storePathsOf);
          expect([...planned].sort()).toEqual(
            objects.map((object) => object.path).filter((candidate) => !exclude.has(candidate)),
          );
          expect(planLayers(closureOf(shuffled), { strategy, maxLayers, exclude })).toEqual(plans);
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([0, -1, 1.5, Number.NaN, MAX_LAYERS + 1])("refuses %d layers", (maxLayers) => {
    expect(() =>
      planLayers(closureOf([{ path: path(0), narHash: undefined, narSize: 1, references: [] }]), {
        strategy,
        maxLayers,
      }),
    ).toThrow(/layers/);
  });
});
