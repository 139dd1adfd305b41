import { describe, expect, it } from "vitest";
import { storePathsOf } from "../../src/layers/plan.js";
import { planAsNix2container } from "../../src/layers/strategies/nix2container.js";
import { planByPopularity } from "../../src/layers/strategies/popularity.js";
import { type Closure, createClosure, type StoreObject } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { readVectors } from "../support/vectors.js";

interface GraphVector {
  readonly graph: readonly StoreObject[];
  readonly exclude: readonly StorePath[];
  readonly limit: number;
  readonly "dockertools-popularity": readonly (readonly StorePath[])[];
  readonly nix2container: { readonly maxLayers: number; readonly layers: readonly (readonly StorePath[])[] };
}

const vectors = readVectors<GraphVector>("graphs.json");

function closureOf(vector: GraphVector): Closure {
  return createClosure({ storeDir: "/nix/store", objects: vector.graph, source: "the vector" });
}

describe.each(vectors.map((vector, index) => ({ vector, index })))("graph vector $index", ({ vector }) => {
  it("splits by popularity as nixpkgs does, excluded paths removed first", () => {
    const plans = planByPopularity(closureOf(vector), { maxLayers: vector.limit }, new Set(vector.exclude));
    expect(plans.map(storePathsOf)).toEqual(vector["dockertools-popularity"]);
  });

  it("splits as nix2container does", () => {
    const { maxLayers, layers } = vector.nix2container;
    const closure = closureOf(vector);
    const plans = planAsNix2container(closure, { maxLayers: maxLayers > 0 ? maxLayers : closure.objects.size });
    expect(plans.map(storePathsOf)).toEqual(layers);
  });
});
