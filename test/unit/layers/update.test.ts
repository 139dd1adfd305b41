import { describe, expect, it } from "vitest";
import { type LayerPlan, storeLayer } from "../../../src/layers/plan.js";
import { pathFates, updateOf } from "../../../src/layers/update.js";
import { createClosure } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";

const path = (name: string, release = 1) => `/nix/store/${String(release).padStart(32, "0")}-${name}` as StorePath;

const [glibc, zlib, app, tool] = [path("glibc-2.40"), path("zlib-1.3"), path("app-2.0", 2), path("tool")];
const closure = createClosure({
  storeDir: "/nix/store",
  source: "the test",
  objects: [
    { path: glibc, narHash: undefined, narSize: 1000, references: [] },
    { path: zlib, narHash: undefined, narSize: 100, references: [glibc] },
    { path: tool, narHash: undefined, narSize: 7, references: [] },
    { path: app, narHash: undefined, narSize: 10, references: [zlib, tool] },
  ],
});
const previous = {
  source: "oci:before",
  layers: [
    { storePaths: [zlib, glibc], size: 500 },
    { storePaths: [path("app-1.0")], size: 4 },
  ],
};

describe("an update", () => {
  it("keeps layers of the same store paths in any order, uploads the others and drops what is left", () => {
    const plans = [storeLayer([glibc, zlib], ""), storeLayer([app, tool], "")];
    expect(updateOf(closure, plans, previous)).toEqual({
      source: "oci:before",
      fates: ["kept", "uploaded"],
      kept: { layers: 1, bytes: 1100 },
      uploaded: { layers: 1, bytes: 17 },
      dropped: { layers: 1, bytes: 4 },
      idealBytes: 17,
    });
  });

  it("uploads a layer whose company changed, though each of its store paths is there", () => {
    const plans = [storeLayer([glibc], ""), storeLayer([zlib, app, tool], "")];
    const update = updateOf(closure, plans, previous);
    expect(update.fates).toEqual(["uploaded", "uploaded"]);
    expect(update.uploaded.bytes).toBe(1117);
    expect(update.idealBytes).toBe(17);
    expect(pathFates(plans, previous, update)).toEqual([["again"], ["again", "changed", "new"]]);
  });

  it("takes what goes to the root, is generated or has other permissions for no layer that could be kept", () => {
    const rewrite = { regex: "^x", replacement: "" };
    const plans: LayerPlan[] = [
      { contents: [{ storePath: path("app-1.0"), rewrite }], reason: "" },
      { contents: [], generated: [], reason: "" },
      { contents: [{ storePath: path("app-1.0"), permissions: [{ regex: "", uid: 0, gid: 0 }] }], reason: "" },
    ];
    const update = updateOf(closure, plans, previous);
    expect(update.fates).toEqual(["uploaded", "uploaded", "uploaded"]);
    expect(update.dropped).toEqual({ layers: 2, bytes: 504 });
  });

  it("says nothing of bytes where a size is unknown", () => {
    const sizeless = createClosure({
      storeDir: "/nix/store",
      source: "the test",
      objects: [{ path: tool, narHash: undefined, narSize: undefined, references: [] }],
    });
    const update = updateOf(sizeless, [storeLayer([tool], "")], { source: "", layers: [{ storePaths: [glibc] }] });
    expect([update.uploaded.bytes, update.dropped.bytes, update.idealBytes]).toEqual([undefined, undefined, undefined]);
    expect(update.kept).toEqual({ layers: 0, bytes: 0 });
  });

  it("calls a store path changed only where one of its name without version was there", () => {
    const plans = [storeLayer([app], ""), storeLayer([tool], ""), storeLayer([glibc, zlib], "")];
    expect(pathFates(plans, previous, updateOf(closure, plans, previous))).toEqual([
      ["changed"],
      ["new"],
      ["kept", "kept"],
    ]);
  });
});
