import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Closure, closureSizes, createClosure, type StoreObject } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";
import { object, path } from "./fixtures.js";

const create = (objects: readonly StoreObject[], roots?: readonly StorePath[]): Closure =>
  createClosure({ storeDir: "/nix/store", objects, source: "f", ...(roots && { roots }) });

describe("createClosure", () => {
  it("takes the paths nobody else refers to as roots", () => {
    const closure = create([object("b", ["c"]), object("c"), object("a", ["a", "c"])]);
    expect(closure.roots).toEqual([path("a"), path("b")]);
    expect([...closure.objects.keys()]).toEqual([path("a"), path("b"), path("c")]);
  });

  it("keeps only what the given roots reach", () => {
    const closure = create([object("a", ["c"]), object("b", ["c"]), object("c")], [path("b")]);
    expect([...closure.objects.keys()]).toEqual([path("b"), path("c")]);
  });

  it("accepts a path that refers to itself", () => {
    expect(create([object("a", ["a"])]).objects.get(path("a"))?.references).toEqual([path("a")]);
  });

  it("names the path and the reference that is missing", () => {
    expect(() => create([object("a", ["b"])])).toThrow(`${path("a")} refers to ${path("b")}, which is not in it`);
  });

  it("shows the cycle", () => {
    const objects = [object("a", ["b"]), object("b", ["c"]), object("c", ["b"])];
    expect(() => create(objects)).toThrow(`${path("b")} -> ${path("c")} -> ${path("b")}`);
  });

  it("finds a cycle that no path outside it refers to", () => {
    expect(() => create([object("a", ["b"]), object("b", ["a"])])).toThrow("cycle");
  });

  it("handles a chain of 20,000 paths", () => {
    const name = (n: number) => `/nix/store/${String(n).padStart(32, "0")}-x` as StorePath;
    const chain = Array.from({ length: 20_000 }, (_, n) =>
      object("a", [], { path: name(n), references: n === 0 ? [] : [name(n - 1)] }),
    );
    expect(create(chain).objects.size).toBe(20_000);
  });

  it("merges two descriptions of a path of which one knows more", () => {
    const full = object("a", ["a"], { narHash: "h", narSize: 5 });
    const bare = object("a", ["a"], { deriver: path("d") });
    for (const order of [
      [full, bare],
      [bare, full],
    ]) {
      expect(create(order).objects.get(path("a"))).toEqual({ ...full, deriver: path("d") });
    }
  });

  it.each([
    ["narHash", object("a", [], { narHash: "h" }), object("a", [], { narHash: "i" })],
    ["narSize", object("a", [], { narSize: 0 }), object("a", [], { narSize: 1 })],
    ["references", object("a", ["a"]), object("a")],
  ])("rejects two descriptions of a path that differ in %s", (field, one, other) => {
    expect(() => create([one, other])).toThrow(`f describes ${path("a")} twice, with ${field}`);
  });

  it("rejects a root that is not in it and a closure of nothing", () => {
    expect(() => create([object("a")], [path("b")])).toThrow(expect.objectContaining({ code: "not-found" }));
    expect(() => create([])).toThrow("f holds no store paths");
  });
});

describe("closureSizes", () => {
  it("counts what is reached in two ways once, and a self-reference not again", () => {
    const closure = create([
      object("a", ["a", "b", "c"], { narSize: 1 }),
      object("b", ["d"], { narSize: 10 }),
      object("c", ["d"], { narSize: 100 }),
      object("d", [], { narSize: 1000 }),
    ]);
    expect([...closureSizes(closure).values()]).toEqual([1111, 1010, 1100, 1000]);
  });

  it("does not know the size of what reaches a path of unknown size", () => {
    const closure = create([object("a", ["b"], { narSize: 1 }), object("b"), object("c", [], { narSize: 0 })]);
    expect([...closureSizes(closure).values()]).toEqual([undefined, undefined, 0]);
  });

  it("equals the sum over the closure of each path", () => {
    fc.assert(
      fc.property(acyclicGraphs(), (objects) => {
        const closure = create(objects);
        for (const [path, size] of closureSizes(closure)) {
          const reached = create(objects, [path]).objects.values();
          expect(size).toBe([...reached].reduce((sum, object) => sum + (object.narSize ?? Number.NaN), 0));
        }
      }),
      { numRuns: 50 },
    );
  });

  it("sums the closures of 10,000 paths", () => {
    const name = (n: number) => `/nix/store/${String(n).padStart(32, "0")}-x` as StorePath;
    const objects = Array.from({ length: 10_000 }, (_, n) =>
      object("a", [], {
        path: name(n),
        narSize: 1,
        references: n === 0 ? [] : [1, 7, 50, 400, 3000].map((back) => name(Math.max(0, n - back))),
      }),
    );
    const closure = create(objects);
    expect(closureSizes(closure).get(name(9_999))).toBe(10_000);
  });
});

function acyclicGraphs(): fc.Arbitrary<StoreObject[]> {
  const name = (n: number) => `/nix/store/${String(n).padStart(32, "0")}-x` as StorePath;
  return fc
    .array(fc.tuple(fc.nat(1000), fc.array(fc.nat(30), { maxLength: 4 })), { minLength: 1, maxLength: 25 })
    .map((nodes) =>
      nodes.map(([narSize, targets], n) =>
        object("a", [], { path: name(n), narSize, references: targets.map((target) => name(target % (n + 1))) }),
      ),
    );
}
