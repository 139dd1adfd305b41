import { describe, expect, it } from "vitest";
import type { PlannedLayer } from "../../../src/build/image-plan.js";
import { historyComment, recordedLayers, storePathsAnnotations } from "../../../src/build/recorded-store-paths.js";
import type { LayerContent, LayerPlan } from "../../../src/layers/plan.js";
import type { StorePath } from "../../../src/nix/store-path.js";
import { changedStorePathsComment, parseStorePathsComment, storePathsComment } from "../../../src/oci/image.js";
import { STORE_DIR_ANNOTATION, STORE_PATHS_ANNOTATION } from "../../../src/oci/manifest.js";

const nameOf = (name: string, digit = "0") => `${digit.repeat(32)}-${name}`;
const pathOf = (name: string, digit = "0", dir = "/nix/store") => `${dir}/${nameOf(name, digit)}` as StorePath;
const layerOf = (contents: readonly LayerContent[], more: Partial<LayerPlan> = {}): PlannedLayer => ({
  kind: "store",
  plan: { contents, reason: "", ...more },
});
const plain = (...paths: readonly StorePath[]) => layerOf(paths.map((storePath) => ({ storePath })));
const annotationsOf = (layer: PlannedLayer) => storePathsAnnotations([layer])[0];

const A = pathOf("a");
const B = pathOf("b", "1");
const MOVED = { storePath: A, rewrite: { regex: "^", replacement: "" } };
const CHANGED = { storePath: A, permissions: [{ regex: "", uid: 1, gid: 1 }] };

describe("what manifests say of layers", () => {
  it("is the base names in order", () => {
    expect(annotationsOf(plain(B, A))).toEqual({ [STORE_PATHS_ANNOTATION]: `${nameOf("a")} ${nameOf("b", "1")}` });
  });

  it("has the store directory where it is another one", () => {
    expect(annotationsOf(plain(pathOf("a", "0", "/gnu/store")))).toEqual({
      [STORE_DIR_ANNOTATION]: "/gnu/store",
      [STORE_PATHS_ANNOTATION]: nameOf("a"),
    });
  });

  it.each([
    ["what moves", layerOf([{ storePath: B }, MOVED])],
    ["other permissions", layerOf([{ storePath: B }, CHANGED])],
    ["what is generated", layerOf([], { generated: [] })],
    ["store paths of two stores", plain(A, pathOf("b", "1", "/gnu/store"))],
  ])("is empty for a layer with %s", (_, layer) => {
    expect(annotationsOf(layer)).toEqual({ [STORE_PATHS_ANNOTATION]: "" });
  });

  it("is nothing for a layer of somebody else's", () => {
    const blob = { title: "", size: 0, writeTo: () => Promise.reject(new Error("it was read")) };
    expect(annotationsOf({ kind: "ready", blob, paths: [A] })).toEqual({});
  });

  it("stays well below what registries refuse: less than 1 MB for 10,000 store paths, nothing where it were 2 MiB", () => {
    const layersOf = (count: number, name: string) =>
      Array.from({ length: 100 }, (_, layer) =>
        plain(...Array.from({ length: count / 100 }, (_, i) => pathOf(`${name}-${layer}-${i}`))),
      );
    const sizeOf = (layers: readonly PlannedLayer[]) => JSON.stringify(storePathsAnnotations(layers)).length;
    // The mean of the names in nixpkgs is less.
    const usual = sizeOf(layersOf(10_000, "python3.11-some-library"));
    expect(usual).toBeGreaterThan(600_000);
    expect(usual).toBeLessThan(1_000_000);
    const long = "n".repeat(180);
    expect(sizeOf(layersOf(9_000, long))).toBeGreaterThan(1_900_000);
    expect(new Set(storePathsAnnotations(layersOf(10_000, long)).map((each) => Object.keys(each).length))).toEqual(
      new Set([0]),
    );
  });
});

describe("what the history says of layers", () => {
  it.each([
    ["store paths as they are", plain(A, B), { paths: [A, B], changed: false }],
    ["what moves", layerOf([{ storePath: B }, MOVED]), { paths: [B, A], changed: true }],
    ["other permissions", layerOf([CHANGED]), { paths: [A], changed: true }],
  ])("tells %s", (_, layer, expected) => {
    expect(parseStorePathsComment(historyComment(layer))).toEqual(expected);
  });
});

describe("reading what layers hold", () => {
  const annotated = (paths: string, dir?: string) => ({
    annotations: { [STORE_PATHS_ANNOTATION]: paths, ...(dir === undefined ? {} : { [STORE_DIR_ANNOTATION]: dir }) },
  });
  const commented = (...paths: readonly string[]) => ({ comment: storePathsComment(paths) });

  it("takes annotations", () => {
    const layers = [
      { ...annotated(`${nameOf("b", "1")} ${nameOf("a")}`), size: 5 },
      annotated(nameOf("c"), "/gnu/store"),
    ];
    expect(recordedLayers(layers)).toEqual([
      { storePaths: [A, B], size: 5 },
      { storePaths: [pathOf("c", "0", "/gnu/store")], size: undefined },
    ]);
  });

  it("takes the history where there is no annotation", () => {
    expect(recordedLayers([commented(B, A), {}, { comment: "RUN make" }])).toEqual([{ storePaths: [A, B] }]);
  });

  it("trusts an annotation more than the history, also where it says that nothing is held", () => {
    expect(recordedLayers([{ ...annotated(""), ...commented(A) }])).toEqual([]);
    expect(recordedLayers([{ ...annotated(nameOf("b", "1")), ...commented(A) }])).toEqual([{ storePaths: [B] }]);
  });

  it("leaves out what is moved or changed, and dockerTools' customisation layer", () => {
    const changed = { comment: changedStorePathsComment([A]) };
    expect(recordedLayers([changed, commented(pathOf("app-customisation-layer")), commented(B)])).toEqual([
      { storePaths: [B] },
    ]);
  });

  it.each([
    ["a name that is none", annotated("a")],
    ["two spaces", annotated(`${nameOf("a")}  ${nameOf("b", "1")}`)],
    ["a path in place of a name", annotated(`${nameOf("a")}/bin`)],
    ["a relative store directory", annotated(nameOf("a"), "store")],
    ["an empty store directory", annotated(nameOf("a"), "")],
    ["a store directory that ends in a slash", annotated(nameOf("a"), "/nix/store/")],
    ["a store directory in a store", annotated(nameOf("a"), pathOf("b", "1"))],
    ["a NUL", commented(A, `${B}\0`)],
    ["a control character", annotated(nameOf("a"), "/nix\x07/store")],
    ["a base layer's name", commented("0123/layer.tar")],
    ["a path below a store path", commented(`${A}/bin`)],
    ["no paths", commented()],
  ])("leaves out a layer of which it reads %s, and keeps the others", (_, layer) => {
    const other = pathOf("other", "2");
    expect(recordedLayers([layer, commented(other)])).toEqual([{ storePaths: [other] }]);
  });

  it("leaves out a layer that holds what a lower one holds, and takes a path once that is listed twice", () => {
    expect(recordedLayers([commented(A, A), commented(A, B), commented(B)])).toEqual([
      { storePaths: [A] },
      { storePaths: [B] },
    ]);
  });

  it("tells nothing known from nothing said", () => {
    expect(recordedLayers([{}, { comment: "RUN make" }, { annotations: { other: "x" } }])).toBeUndefined();
    expect(recordedLayers([])).toBeUndefined();
  });
});

describe("the history comment", () => {
  it.each([
    ["store paths: []", []],
    ["store paths: ['/nix/store/a']", ["/nix/store/a"]],
    [`store paths: ["it's", 'b']`, ["it's", "b"]],
    ["store paths: ['a', 'b'", undefined],
    ["store paths: ['a' 'b']", undefined],
    ["store paths: ['a'], ['b']", undefined],
    ["store paths: ['\\x00']", undefined],
    ["store paths: [a]", undefined],
    ["store paths: [,]", undefined],
    [" store paths: ['a']", undefined],
    ["", undefined],
  ])("%j lists %j", (comment, paths) => {
    expect(parseStorePathsComment(comment)).toEqual(paths && { paths, changed: false });
  });
});
