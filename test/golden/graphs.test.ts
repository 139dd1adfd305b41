import { describe, expect, it } from "vitest";
import { OciNixError } from "../../src/core/errors.js";
import { toJson } from "../../src/core/json.js";
import { parsePipeline } from "../../src/layers/pipeline/parse.js";
import { type LayerPlan, storePathsOf } from "../../src/layers/plan.js";
import { planLayers } from "../../src/layers/plan-layers.js";
import { planAsNix2container } from "../../src/layers/strategies/nix2container.js";
import { type Closure, createClosure, type StoreObject } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { readVectors } from "../support/vectors.js";

interface GraphVector {
  readonly graph: readonly StoreObject[];
  readonly exclude: readonly StorePath[];
  readonly limit: number;
  readonly "dockertools-auto": readonly (readonly StorePath[])[];
  readonly "dockertools-popularity": readonly (readonly StorePath[])[];
  readonly pipeline: readonly unknown[];
  readonly "pipeline-layers": readonly (readonly StorePath[])[] | { readonly error: true };
  readonly nix2container: { readonly maxLayers: number; readonly layers: readonly (readonly StorePath[])[] };
}

const vectors = readVectors<GraphVector>("graphs.json");

function closureOf(vector: GraphVector): Closure {
  return createClosure({ storeDir: "/nix/store", objects: vector.graph, source: "the vector" });
}

describe.each(vectors.map((vector, index) => ({ vector, index })))("graph vector $index", ({ vector }) => {
  const plan = (strategy: Parameters<typeof planLayers>[1]["strategy"], maxLayers: number): readonly LayerPlan[] =>
    planLayers(closureOf(vector), { strategy, maxLayers, exclude: new Set(vector.exclude) });

  it("splits as nixpkgs' default does, excluded paths taking part, in the same order of layers", () => {
    const layers = plan("dockertools-auto", vector.limit).map(storePathsOf);
    expect(layers).toEqual(vector["dockertools-auto"]);
  });

  it.each(["popularity", "dockertools-popularity"])(
    "splits by %s as nixpkgs does, excluded paths removed first",
    (strategy) => {
      expect(plan(strategy, vector.limit).map(storePathsOf)).toEqual(vector["dockertools-popularity"]);
    },
  );

  it("splits by nixpkgs' default pipeline of old as by popularity", () => {
    const pipeline = parsePipeline(toJson([["popularity_contest"], ["limit_layers", vector.limit]]), "pipeline");
    expect(plan(pipeline, vector.limit).map(storePathsOf)).toEqual(vector["dockertools-popularity"]);
  });

  it("gives the layers of a pipeline as nixpkgs does, or fails where nixpkgs fails", () => {
    const expected = vector["pipeline-layers"];
    const run = () =>
      plan(parsePipeline(toJson(vector.pipeline), "pipeline"), Number.POSITIVE_INFINITY).map(storePathsOf);
    if ("error" in expected) expect(run).toThrow(OciNixError);
    else expect(run()).toEqual(expected);
  });

  it("splits as nix2container does", () => {
    const { maxLayers, layers } = vector.nix2container;
    const closure = closureOf(vector);
    const plans = planAsNix2container(closure, { maxLayers: maxLayers > 0 ? maxLayers : closure.objects.size });
    expect(plans.map(storePathsOf)).toEqual(layers);
  });
});
