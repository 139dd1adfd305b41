import { beforeEach, describe, expect, it, vi } from "vitest";
import { planAllLayers, planImage } from "../../../src/build/plan-image.js";
import { checkSpec, type ImageSpec } from "../../../src/build/spec.js";
import { parseJson } from "../../../src/core/json.js";
import * as planLayers from "../../../src/layers/plan-layers.js";
import type { PreviousLayout } from "../../../src/layers/previous.js";
import { createClosure } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";

// What is watched here is which options strategies are called with.
vi.mock("../../../src/layers/plan-layers.js", { spy: true });

const path = (digit: string) => `/nix/store/${digit.repeat(32)}-${digit}` as StorePath;
const [A, B, C] = [path("a"), path("b"), path("c")] as const;
const closure = createClosure({
  storeDir: "/nix/store",
  objects: [A, B, C].map((each) => ({ path: each, references: [], narSize: 1, narHash: undefined })),
  source: "test",
});
const previous: PreviousLayout = { source: "oci:x:1", layers: [{ storePaths: [A] }] };

const given = () => vi.mocked(planLayers.planLayers).mock.calls.map(([, options]) => options.previous);

beforeEach(() => void vi.clearAllMocks());

describe("the layout of a previous image", () => {
  const spec: ImageSpec = {
    closure: { roots: [A, B, C] },
    layers: [{ deps: [A] }, { deps: [B], strategy: "nix2container" }],
  };

  it("is given to every strategy", () => {
    planAllLayers(spec, closure, previous);
    expect(given()).toEqual([previous, previous, previous]);
  });

  it("is given to none where there is none", () => {
    planAllLayers(spec, closure);
    expect(given()).toEqual([undefined, undefined, undefined]);
  });
});

describe("a spec", () => {
  const specWith = (previous: string) => parseJson(`{"closure": {"roots": ["${A}"]}, "previous": ${previous}}`, "spec");

  it("names a previous image", () => {
    expect(checkSpec(specWith('"docker://r.example/app:1"'), "spec").previous).toBe("docker://r.example/app:1");
    expect(checkSpec(specWith("null"), "spec").previous).toBeUndefined();
  });

  it.each(['""', "1", "{}", '"a\\u0000b"'])("names none as %s", (value) => {
    expect(() => checkSpec(specWith(value), "spec")).toThrow(/^spec: previous must be/);
  });

  it("whose previous image cannot be read is not planned", async () => {
    const graph = new URL("../../../testdata/sample-store/closure.json", import.meta.url).pathname;
    await expect(planImage({ closure: { graph }, previous: "nowhere:x" })).rejects.toMatchObject({ code: "usage" });
    expect(given()).toEqual([]);
  });
});
