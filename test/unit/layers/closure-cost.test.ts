import { describe, expect, it } from "vitest";
import { CostModel } from "../../../src/layers/cost-model.js";
import { type LayerPlan, storePathsOf } from "../../../src/layers/plan.js";
import { planLayers } from "../../../src/layers/plan-layers.js";
import type { PreviousLayout } from "../../../src/layers/previous.js";
import { rebalanceAdvice } from "../../../src/layers/rebalance.js";
import { replay } from "../../../src/layers/replay.js";
import { type Closure, createClosure } from "../../../src/nix/closure.js";
import { baseNameOf, type StorePath } from "../../../src/nix/store-path.js";

const MB = 1_000_000;

/** Packages by name: bytes, release that they are of, names of what they refer to. */
type Packages = Readonly<Record<string, readonly [size: number, release: number, ...references: string[]]>>;

/** A closure as Nix names it: a change renames what refers to it. */
function closureOf(packages: Packages): Closure {
  const release = (name: string): number => {
    const [, own, ...references] = packages[name] as Packages[string];
    return own * 1000 + references.reduce((sum, reference) => sum + release(reference), 0);
  };
  const path = (name: string) => `/nix/store/${String(release(name)).padStart(32, "0")}-${name}` as StorePath;
  return createClosure({
    storeDir: "/nix/store",
    objects: Object.entries(packages).map(([name, [narSize, , ...references]]) => ({
      path: path(name),
      narHash: undefined,
      narSize,
      references: references.map(path),
    })),
    source: "the test",
  });
}

const namesIn = (plans: readonly LayerPlan[]) =>
  plans.map((plan) =>
    storePathsOf(plan)
      .map((path) => baseNameOf(path).slice(33))
      .sort(),
  );

const plan = (closure: Closure, maxLayers: number, previous?: PreviousLayout) =>
  planLayers(closure, { strategy: "closure-cost", maxLayers, previous });

const layoutOf = (plans: readonly LayerPlan[]): PreviousLayout => ({
  source: "the release before",
  layers: plans.map((each) => ({ storePaths: storePathsOf(each).sort() })),
});

/** A program of 2 MB on an interpreter, libraries and data of 220 MB. */
const APP: Packages = {
  app: [2 * MB, 1, "python", "data", "tool-a", "tool-b", "tool-c"],
  python: [60 * MB, 1, "ssl", "glibc"],
  ssl: [8 * MB, 1, "glibc"],
  data: [100 * MB, 1],
  "tool-a": [10_000, 1, "glibc"],
  "tool-b": [12_000, 1, "glibc"],
  "tool-c": [14_000, 1, "glibc"],
  glibc: [50 * MB, 1],
};

describe("closure-cost", () => {
  it("keeps what is worked on away from what is large, and puts together what is small", () => {
    const layers = namesIn(plan(closureOf(APP), 6));
    expect(layers).toContainEqual(["app"]);
    expect(layers).toContainEqual(["data"]);
    expect(layers).toContainEqual(["tool-a", "tool-b", "tool-c"]);
  });

  it("puts what most store paths refer to at the bottom, and what none refers to on top", () => {
    const layers = namesIn(plan(closureOf(APP), 8));
    expect([layers[0], layers.at(-1)]).toEqual([["glibc"], ["app"]]);
  });

  it("gives every store path a layer where there are enough", () => {
    expect(plan(closureOf(APP), 100)).toHaveLength(8);
  });

  it("plans a closure of which no sizes are known", () => {
    const { storeDir, objects } = closureOf(APP);
    const unsized = [...objects.values()].map((object) => ({ ...object, narSize: undefined }));
    expect(plan(createClosure({ storeDir, objects: unsized, source: "the test" }), 3)).toHaveLength(3);
  });

  it("counts changes of what is planned with but not shipped", () => {
    const closure = closureOf(APP);
    const exclude = new Set([...closure.objects.keys()].filter((path) => path.endsWith("-app")));
    const plans = planLayers(closure, { strategy: "closure-cost", maxLayers: 3, exclude });
    expect(namesIn(plans).flat().sort()).toEqual(
      Object.keys(APP)
        .filter((name) => name !== "app")
        .sort(),
    );
  });
});

describe("closure-cost after a previous image", () => {
  const before = plan(closureOf(APP), 6);

  it("pushes only the layer of what changed, and leaves all others where they are", () => {
    const after = plan(closureOf({ ...APP, app: [2 * MB, 2, "python", "data", "tool-a", "tool-b", "tool-c"] }), 6, {
      ...layoutOf(before),
    });
    expect(after.slice(0, 5).map(storePathsOf)).toEqual(before.slice(0, 5).map(storePathsOf));
    expect(after.slice(0, 5).every(({ reason }) => reason === "as in the previous image")).toBe(true);
    expect(namesIn(after)[5]).toEqual(["app"]);
  });

  it("finds room for a new dependency without sending anything large again", () => {
    const app = [2 * MB, 2, "python", "data", "tool-a", "tool-b", "tool-c", "new"] as const;
    const after = plan(closureOf({ ...APP, app, new: [5 * MB, 1, "glibc"] }), 6, layoutOf(before));
    const kept = new Set(layoutOf(before).layers.map(({ storePaths }) => storePaths.join()));
    const sent = namesIn(after.filter((each) => !kept.has(storePathsOf(each).sort().join()))).flat();
    expect(sent).toEqual(expect.arrayContaining(["app", "new"]));
    expect(sent.filter((name) => ["python", "data", "glibc", "ssl"].includes(name))).toEqual([]);
    expect(after.length).toBeLessThanOrEqual(6);
  });

  it("does not keep a layer that holds what is gone", () => {
    const app = [2 * MB, 2, "python", "data", "tool-a", "tool-b"] as const;
    const packages = Object.fromEntries(Object.entries({ ...APP, app }).filter(([name]) => name !== "tool-c"));
    const after = plan(closureOf(packages), 6, layoutOf(before));
    expect(namesIn(after)).toContainEqual(["tool-a", "tool-b"]);
  });
});

describe("advice on a fresh split", () => {
  const advise = (previous: PreviousLayout, maxLayers: number) => {
    const closure = closureOf(APP);
    return rebalanceAdvice(
      new CostModel(closure),
      plan(closure, maxLayers, previous),
      plan(closure, maxLayers),
      previous,
    );
  };

  it("says what one saves where the previous image is split badly", () => {
    const all = [...closureOf(APP).objects.keys()];
    const advice = advise({ source: "one layer", layers: [{ storePaths: all }] }, 6);
    expect(advice?.savedPerRelease).toBeGreaterThan(50 * MB);
    expect(advice?.costNow).toBe(220_036_000);
    expect(advice?.paysAfter).toBe(Math.ceil((advice?.costNow ?? 0) / (advice?.savedPerRelease ?? 1)));
  });

  it("says nothing where it would take too long to pay", () => {
    const { layers } = layoutOf(plan(closureOf(APP), 6));
    const isIn = (names: readonly string[]) => (path: StorePath) => names.includes(baseNameOf(path).slice(33));
    const large = ["data", "python"];
    const others = layers.filter(({ storePaths }) => !storePaths.some(isIn(large)));
    const storePaths = [...closureOf(APP).objects.keys()].filter(isIn(large));
    expect(advise({ source: "two large ones together", layers: [...others, { storePaths }] }, 6)).toBeUndefined();
  });

  it("says nothing where the previous image is split as a fresh one would be", () => {
    expect(advise(layoutOf(plan(closureOf(APP), 6)), 6)).toBeUndefined();
  });
});

describe("a chain of releases", () => {
  const chain = [1, 2, 3].map((release) =>
    closureOf({ ...APP, app: [2 * MB, release, "python", "data", "tool-a", "tool-b", "tool-c"] }),
  );

  it("costs what is new, where each follows the one before", () => {
    const releases = replay(chain, { strategy: "closure-cost", maxLayers: 6, follow: true });
    expect(releases.map(({ uploaded, ideal }) => uploaded - ideal)).toEqual([0, 0, 0]);
    expect(releases.map(({ kept, layers }) => layers - kept)).toEqual([6, 1, 1]);
  });

  it("costs everything each time in a single layer", () => {
    const releases = replay(chain, { strategy: "single", maxLayers: 6, follow: false });
    expect(releases.map(({ uploaded }) => uploaded)).toEqual([220_036_000, 220_036_000, 220_036_000]);
    expect(releases.map(({ ideal }) => ideal)).toEqual([220_036_000, 2 * MB, 2 * MB]);
  });
});

describe("the cost model", () => {
  const model = new CostModel(closureOf(APP));
  const path = (name: string) => model.graph.paths.find((each) => each.endsWith(`-${name}`)) as StorePath;

  it("takes what is referred to for less often changed than what refers to it", () => {
    const chances = ["glibc", "ssl", "python", "app"].map((name) => model.chanceOfChange([path(name)]));
    expect(chances).toEqual([...chances].sort((a, b) => a - b));
    expect(new Set(chances).size).toBe(4);
  });

  it("follows references from the roots, half as often at each step, and divides by the dependants", () => {
    const chain = new CostModel(closureOf({ root: [1, 1, "middle"], middle: [1, 1, "leaf"], leaf: [1, 1] }));
    const rate = (name: string) => {
      const found = chain.graph.paths.filter((each) => each.endsWith(`-${name}`));
      return -Math.log(1 - chain.chanceOfChange(found));
    };
    const leaf = 0.0015 + 0.125 / 3;
    const middle = leaf + 0.0015 + 0.25 / 2;
    expect(rate("leaf")).toBeCloseTo(leaf, 10);
    expect(rate("middle")).toBeCloseTo(middle, 10);
    expect(rate("root")).toBeCloseTo(middle + 0.0015 + 0.5, 10);
  });

  it("takes a layer for more often changed than each of its store paths, and never for certain", () => {
    const together = model.chanceOfChange([path("data"), path("ssl")]);
    expect(together).toBeGreaterThan(model.chanceOfChange([path("data")]));
    expect(together).toBeGreaterThan(model.chanceOfChange([path("ssl")]));
    expect(model.chanceOfChange(model.graph.paths)).toBeLessThan(1);
  });

  it("expects nothing of a layer of nothing", () => {
    expect([model.chanceOfChange([]), model.expectedBytes([])]).toEqual([0, 0]);
  });
});

describe("a previous image that is of little use", () => {
  it("is not followed where nothing of it can be kept", () => {
    const closure = closureOf(APP);
    const gone = "/nix/store/99999999999999999999999999999999-gone" as StorePath;
    const layers = [...closure.objects.keys()].map((path) => ({ storePaths: [path, gone].sort() }));
    expect(plan(closure, 4, { source: "other layers", layers })).toEqual(plan(closure, 4));
  });

  it("is followed for its largest layers where it has more than any image that runs", () => {
    const sizes = Array.from({ length: 2000 }, (_, i) => i + 1);
    const closure = closureOf(Object.fromEntries(sizes.map((size) => [`p${size}`, [size, 1]])));
    const layers = [...closure.objects.keys()].map((storePath) => ({ storePaths: [storePath] }));
    const plans = plan(closure, 100, { source: "a layer a path", layers });
    expect(plans.flatMap(storePathsOf)).toHaveLength(2000);
    const kept = namesIn(plans.filter(({ reason }) => reason === "as in the previous image")).flat();
    expect(kept).toContain("p2000");
    expect(kept).not.toContain("p1");
  });
});
