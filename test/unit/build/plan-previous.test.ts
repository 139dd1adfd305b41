import { beforeEach, describe, expect, it, vi } from "vitest";
import { planAllLayers } from "../../../src/build/plan/layers.js";
import { planImage } from "../../../src/build/plan/plan-image.js";
import { checkSpec, type ImageSpec } from "../../../src/build/spec/spec.js";
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

describe("store paths with permission rules", () => {
  const perms = [{ path: B, regex: ".", mode: 0o700 }];
  const spec: ImageSpec = { closure: { roots: [A, B, C] }, maxLayers: 2, perms };
  const held = (plans: ReturnType<typeof planAllLayers>) =>
    plans.map(({ contents }) => contents.map(({ storePath }) => storePath));

  it("are a layer of their own, so that the others are known again", () => {
    const plans = planAllLayers(spec, closure);
    expect(held(plans)).toEqual([[A, C], [B]]);
    expect(plans[1]?.reason).toBe("with permission rules");
    const layers = [{ storePaths: [A, C] }];
    const again = planAllLayers(spec, closure, { source: "oci:x:1", layers });
    expect(held(again)).toEqual(held(plans));
    expect(again[0]?.reason).toBe("as in the previous image");
  });

  it("are where they would be without rules in the splits of other programs, and where there is one layer", () => {
    const split = (strategy: string) => planAllLayers({ ...spec, maxLayers: 3, strategy }, closure);
    expect(held(split("nix2container")).flat()).toEqual(
      held(planAllLayers({ ...spec, perms: [], maxLayers: 3, strategy: "nix2container" }, closure)).flat(),
    );
    expect(held(planAllLayers({ ...spec, maxLayers: 1 }, closure))).toEqual([[A, C, B]]);
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
