import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toJson } from "../../src/core/json.js";
import { parsePipeline } from "../../src/layers/pipeline/parse.js";
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
          // Many are equal, so that ties are broken.
          narSize: i % 5,
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
          // Nothing but the number of paths decides how many layers that is; it is tested by itself.
          fc.pre(strategy !== "per-path" || objects.length - exclude.size <= maxLayers);
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

/** Pipelines that fit together and remove nothing, over paths of {@link graphs}. */
const { pipeline } = fc.letrec<Record<"pipeline" | "split" | "parts" | "rest", readonly unknown[]>>((tie) => {
  const paths = fc.array(fc.nat({ max: 60 }).map(path), { maxLength: 4 });
  const specs = fc.array(
    fc.oneof(
      fc.nat({ max: 60 }).map(path),
      paths.map((children_of) => ({ children_of })),
    ),
    {
      maxLength: 4,
    },
  );
  const steps = (...items: fc.Arbitrary<unknown>[]) => fc.tuple(...items);
  return {
    pipeline: fc.tuple(tie("split"), tie("rest")).map(([split, rest]) => [...split, ...rest]),
    split: fc.oneof(
      { depthSize: "small" },
      fc.constant([["popularity_contest"]]),
      fc.integer({ min: 1, max: 70 }).map((count) => [["split_every", count]]),
      fc.tuple(tie("parts"), fc.constant([["flatten"]])).map(([parts, flatten]) => [...parts, ...flatten]),
    ),
    parts: fc
      .tuple(
        fc.oneof(
          steps(fc.constantFrom("subcomponent_in", "subcomponent_out"), paths),
          steps(fc.constant("split_paths"), specs),
        ),
        fc.oneof(
          { depthSize: "small" },
          fc.constant([]),
          fc.uniqueArray(fc.constantFrom("main", "common", "rest")).map((keys) => [["reorder", keys]]),
        ),
      )
      .map(([split, order]) => [split, ...order]),
    rest: fc.array(
      fc.oneof(
        { depthSize: "small" },
        fc.constant(["reverse"]),
        fc.integer({ min: 1, max: 70 }).map((count) => ["limit_layers", count]),
        tie("pipeline").map((inner) => ["pipe", [["map", ["pipe", inner]], ["flatten"]]]),
      ),
      { maxLength: 3 },
    ),
  };
});

describe("a layering pipeline", () => {
  it("that removes nothing puts every path that is not excluded into one layer, whatever the input's order", () => {
    fc.assert(
      fc.property(graphs, pipeline, fc.func(fc.boolean()), ([objects, shuffled], json, isExcluded) => {
        const exclude = new Set(objects.map((object) => object.path).filter((candidate) => isExcluded(candidate)));
        const strategy = parsePipeline(toJson(json), "pipeline");
        const options = { strategy, maxLayers: Number.POSITIVE_INFINITY, exclude };
        const plans = planLayers(closureOf(objects), options);
        for (const plan of plans) expect(plan.contents.length).toBeGreaterThan(0);
        expect(plans.flatMap(storePathsOf).sort()).toEqual(
          objects.map((object) => object.path).filter((candidate) => !exclude.has(candidate)),
        );
        expect(planLayers(closureOf(shuffled), options)).toEqual(plans);
        if (plans.length > 1) {
          expect(() => planLayers(closureOf(objects), { ...options, maxLayers: plans.length - 1 })).toThrow(
            `gives ${plans.length} layers`,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("the dockertools-auto strategy", () => {
  it("puts a layer above those that it needs, by the size of all that it needs", () => {
    fc.assert(
      fc.property(graphs, fc.integer({ min: 1, max: MAX_LAYERS }), ([objects], maxLayers) => {
        const byPath = new Map(objects.map((object) => [object.path, object]));
        const closureSize = (paths: readonly StorePath[]) => {
          const needed = new Set(paths);
          for (const each of needed) for (const reference of byPath.get(each)?.references ?? []) needed.add(reference);
          return [...needed].reduce((sum, each) => sum + (byPath.get(each)?.narSize ?? 0), 0);
        };
        const plans = planLayers(closureOf(objects), { strategy: "dockertools-auto", maxLayers });
        const sizes = plans.map((plan) => closureSize(storePathsOf(plan)));
        expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
      }),
      { numRuns: 200 },
    );
  });
});

describe("the per-path strategy", () => {
  it("is an error that says how many paths there are where there may be fewer layers", () => {
    const objects = [0, 1, 2].map((i) => ({ path: path(i), narHash: undefined, narSize: 1, references: [] }));
    const options = { strategy: "per-path", maxLayers: 2 };
    expect(() => planLayers(closureOf(objects), options)).toThrow("3 store paths are too many for a layer each");
    expect(planLayers(closureOf(objects), { ...options, exclude: new Set([path(1)]) })).toHaveLength(2);
  });
});

describe("closure-cost after a previous image", () => {
  const strategy = "closure-cost";

  it("plans the same closure as before", () => {
    fc.assert(
      fc.property(graphs, fc.integer({ min: 1, max: MAX_LAYERS }), ([objects], maxLayers) => {
        const closure = closureOf(objects);
        const plans = planLayers(closure, { strategy, maxLayers });
        const layers = plans.map((plan) => ({ storePaths: storePathsOf(plan).sort() }));
        const again = planLayers(closure, { strategy, maxLayers, previous: { source: "the test", layers } });
        expect(again.map(storePathsOf)).toEqual(plans.map(storePathsOf));
      }),
    );
  });

  it("ships everything in as many layers as allowed, whatever the previous image held", () => {
    const layer = fc.uniqueArray(fc.nat({ max: 80 }), { minLength: 1, maxLength: 20 });
    const layouts = fc.array(layer, { maxLength: 30 });
    fc.assert(
      fc.property(graphs, layouts, fc.integer({ min: 1, max: 40 }), ([objects, shuffled], layout, maxLayers) => {
        const layers = layout.map((numbers) => ({ storePaths: numbers.map(path).sort() }));
        const options = { strategy, maxLayers, previous: { source: "the test", layers } };
        const plans = planLayers(closureOf(objects), options);
        expect(plans.length).toBeLessThanOrEqual(maxLayers);
        expect(plans.flatMap(storePathsOf).sort()).toEqual(objects.map((object) => object.path));
        expect(planLayers(closureOf(shuffled), options)).toEqual(plans);
      }),
      { numRuns: 300 },
    );
  });

  it("ships everything of closures that are too large to compare each with each", () => {
    const references = fc.array(fc.array(fc.nat({ max: 400 }), { maxLength: 4 }), { minLength: 1500, maxLength: 1500 });
    fc.assert(
      fc.property(references, (rows) => {
        const objects = rows.map(
          (row, i): StoreObject => ({
            path: `/nix/store/${String(i).padStart(32, "0")}-package-${i}` as StorePath,
            narHash: undefined,
            narSize: (i * 7919) % 100_003,
            references: [],
            ...(row.length > 0 && {
              references: [...new Set(row.map((step) => Math.min(i + step, rows.length - 1)))].map(
                (j) => `/nix/store/${String(j).padStart(32, "0")}-package-${j}` as StorePath,
              ),
            }),
          }),
        );
        const plans = planLayers(closureOf(objects), { strategy, maxLayers: 60 });
        expect(plans.length).toBeLessThanOrEqual(60);
        expect(plans.flatMap(storePathsOf).sort()).toEqual(objects.map((object) => object.path));
      }),
      { numRuns: 5 },
    );
  });
});
