import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkSpec, digestLayers, planImage, toJson, translateDockertoolsArguments } from "../../dist/index.js";
import { makeStore, readVectors, type TreeVectorEntry } from "../support/vectors.js";

interface TreeVector {
  readonly storePaths: Readonly<Record<string, readonly TreeVectorEntry[]>>;
  readonly layers: readonly (readonly string[])[];
  readonly ownership: { uid?: string; gid?: string; uname?: string; gname?: string; mtime?: string };
  readonly dockertools: readonly string[];
}

/** Those of which each layer is one store path, as arguments cannot ask for others. */
const vectors = readVectors<TreeVector>("trees.json").filter(({ layers }) =>
  layers.every(({ length }) => length === 1),
);

function argumentsOf({ storePaths, ownership }: TreeVector): Readonly<Record<string, unknown>> {
  const { uid, gid, mtime, ...names } = ownership;
  return {
    name: "vector",
    // Nothing refers to these paths but the config.
    config: { Env: [`PATH=${Object.keys(storePaths).join("/bin:")}/bin`] },
    ...names,
    ...(uid === undefined ? {} : { uid: Number(uid) }),
    ...(gid === undefined ? {} : { gid: Number(gid) }),
    ...(mtime === undefined ? {} : { mtime }),
  };
}

describe("dockerTools' arguments", () => {
  it("have enough vectors", () => {
    expect(vectors.length).toBeGreaterThan(10);
    expect(vectors.some(({ ownership }) => ownership.uid !== undefined)).toBe(true);
  });

  it.each(vectors.map((vector, index) => ({ vector, index })))(
    "give the store layers that nixpkgs' program gives: vector $index",
    async ({ vector }) => {
      const { root, remove } = makeStore(vector.storePaths);
      try {
        const graph = join(root, "graph.json");
        const objects = Object.keys(vector.storePaths).map((path, i) => ({ path, narSize: i + 1, references: [] }));
        writeFileSync(graph, JSON.stringify(objects));
        const { spec } = translateDockertoolsArguments(toJson(argumentsOf(vector)), { source: "args.json" });
        const closure = { graph, storeRoot: root, roots: spec.get("closure") };
        const { roots } = Object.fromEntries(closure.roots as ReadonlyMap<string, unknown>) as { roots: string[] };
        expect([...roots].sort()).toEqual(Object.keys(vector.storePaths).sort());
        const image = new Map([...spec, ["closure", toJson({ ...closure, roots })]]);
        const layers = await digestLayers(await planImage(checkSpec(image, "args.json")));
        expect(layers.map(({ diffId }) => diffId).sort()).toEqual([...vector.dockertools].sort());
      } finally {
        remove();
      }
    },
  );
});
