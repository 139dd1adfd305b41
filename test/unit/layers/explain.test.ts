import { describe, expect, it } from "vitest";
import type { CostModel } from "../../../src/layers/cost-model.js";
import { explainPath, findInClosure } from "../../../src/layers/explain.js";
import { storeLayer } from "../../../src/layers/plan.js";
import { createClosure } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";

const path = (name: string) => `/nix/store/${"0".repeat(32)}-${name}` as StorePath;
const [app, web, ssl, libc, libcBin] = ["app-1", "web-2", "openssl-3.5", "glibc-2.40", "glibc-bin-2.40"].map(path) as [
  StorePath,
  StorePath,
  StorePath,
  StorePath,
  StorePath,
];
const SIZES: Readonly<Record<StorePath, number>> = { [app]: 10, [web]: 20, [ssl]: 300, [libc]: 1000, [libcBin]: 5 };
const objectOf = (of: StorePath, references: readonly StorePath[]) => ({
  path: of,
  narHash: undefined,
  narSize: SIZES[of],
  references,
});
const closure = createClosure({
  storeDir: "/nix/store",
  source: "the test",
  objects: [
    objectOf(app, [web, ssl]),
    objectOf(web, [ssl, web]),
    objectOf(ssl, [libc]),
    objectOf(libc, [libc]),
    objectOf(libcBin, [libc]),
  ],
});
const plans = [storeLayer([libc], "a"), storeLayer([ssl, libcBin], "b"), storeLayer([app, web], "c")];
/** Every path changes in a tenth of the releases, each for itself. */
const model: Pick<CostModel, "chanceOfChange" | "expectedBytes"> = {
  chanceOfChange: (paths) => 0.1 * [...paths].length,
  expectedBytes(paths) {
    const all = [...paths];
    return 0.1 * all.length * all.reduce((sum, each) => sum + (SIZES[each] ?? 0), 0);
  },
};
const explain = (of: StorePath) => explainPath(closure, plans, of, model);

describe("explaining a store path", () => {
  it("tells who refers to it and what it refers to, itself excepted, and a shortest way from a root", () => {
    expect(explain(ssl)).toMatchObject({
      narSize: 300,
      referrers: [app, web],
      dependants: 2,
      chain: [app, ssl],
      references: [libc],
      dependencies: 1,
      layers: [1],
    });
    expect(explain(libc)).toMatchObject({
      referrers: [libcBin, ssl],
      dependants: 4,
      chain: [libcBin, libc],
      references: [],
    });
    expect(explain(app)).toMatchObject({ referrers: [], dependants: 0, chain: [app], dependencies: 3 });
  });

  it("tells what it would cost in every other layer, cheapest first, and alone", () => {
    const { elsewhere, alone } = explain(ssl);
    // Its own layer costs 0.2 × 305 with it and 0.1 × 5 without.
    const saved = 61 - 0.5;
    expect(elsewhere.map(({ layer }) => layer)).toEqual([2, 0]);
    expect(elsewhere[0]?.moreBytes).toBeCloseTo(0.3 * 330 - 0.2 * 30 - saved);
    expect(elsewhere[1]?.moreBytes).toBeCloseTo(0.2 * 1300 - 0.1 * 1000 - saved);
    expect(alone).toBeCloseTo(0.1 * 300 - saved);
  });

  it("knows no cost of being alone for what is alone, and none at all for what is in no layer", () => {
    expect(explain(libc).alone).toBeUndefined();
    expect(explain(libc).elsewhere).toHaveLength(2);
    expect(explainPath(closure, plans.slice(1), libc, model)).toMatchObject({
      layers: [],
      elsewhere: [],
      alone: undefined,
    });
  });
});

describe("finding a store path by its name", () => {
  it("takes a whole path, a whole name, a name without version, then any part that only one has", () => {
    for (const text of [libc, "glibc-2.40", "glibc", `${"0".repeat(32)}-glibc-2.40`]) {
      expect(findInClosure(closure, text)).toBe(libc);
    }
    expect(findInClosure(closure, "penss")).toBe(ssl);
  });

  it("names some of those that it could be", () => {
    expect(() => findInClosure(closure, "libc-")).toThrow(
      /could be any of 2 store paths: 0+-glibc-2\.40, 0+-glibc-bin/,
    );
    expect(() => findInClosure(closure, "curl")).toThrow(/no store path of the closure has "curl" in its name/);
    expect(() => findInClosure(closure, "")).toThrow(/no store path/);
  });
});
