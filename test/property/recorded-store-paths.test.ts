import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PlannedLayer } from "../../src/build/image-plan.js";
import { historyComment, recordedLayers, storePathsAnnotations } from "../../src/build/recorded-store-paths.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { parseStorePathsComment, storePathsComment } from "../../src/oci/image.js";
import { STORE_DIR_ANNOTATION, STORE_PATHS_ANNOTATION } from "../../src/oci/manifest.js";

const CHARACTERS = [..."abcdefghijklmnopqrstuvwxyzABCXYZ0123456789+-._?="];
const hash = fc.string({ unit: fc.constantFrom(..."0123456789abcdfghijklmnpqrsvwxyz"), minLength: 32, maxLength: 32 });
const name = fc
  .string({ unit: fc.constantFrom(...CHARACTERS), minLength: 1, maxLength: 30 })
  .filter((text) => !text.startsWith(".") && !text.endsWith("-customisation-layer"));
const baseName = fc.tuple(hash, name).map((parts) => parts.join("-"));

/** Layers of different store paths of one store. */
const layerPaths = fc
  .tuple(fc.constantFrom("/nix/store", "/gnu/store", "/a b/é"), fc.uniqueArray(baseName, { maxLength: 40 }))
  .chain(([dir, names]) =>
    fc
      .array(fc.integer({ min: 0, max: 5 }), { minLength: names.length, maxLength: names.length })
      .map((places) =>
        [...new Set(places)].map((place) =>
          names.filter((_, i) => places[i] === place).map((each) => `${dir}/${each}` as StorePath),
        ),
      ),
  );

const anyText = fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.string({ maxLength: 50 }));
const hostile = fc.oneof(
  anyText,
  anyText.map((text) => `store paths: [${text}]`),
  fc
    .array(
      fc.oneof(
        anyText,
        baseName,
        baseName.map((each) => `/nix/store/${each}`),
      ),
    )
    .map(storePathsComment),
  fc.array(fc.oneof(anyText, baseName)).map((names) => names.join(" ")),
);

describe("the record of what layers hold", () => {
  it("is read as it was written, by annotation and by history", () => {
    fc.assert(
      fc.property(layerPaths, (layers) => {
        const planned = layers.map(
          (paths): PlannedLayer => ({
            kind: "store",
            plan: { contents: paths.map((storePath) => ({ storePath })), reason: "" },
          }),
        );
        const expected = layers.map((paths) => ({ storePaths: [...paths].sort() }));
        const annotated = storePathsAnnotations(planned).map((annotations) => ({ annotations }));
        expect(recordedLayers(annotated) ?? []).toEqual(expected);
        expect(recordedLayers(planned.map((layer) => ({ comment: historyComment(layer) }))) ?? []).toEqual(expected);
      }),
    );
  });

  it("gives store paths that no two layers share, whatever was written", () => {
    const documented = fc.record(
      {
        comment: hostile,
        annotations: fc.record(
          { [STORE_PATHS_ANNOTATION]: hostile, [STORE_DIR_ANNOTATION]: anyText },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(documented), (layers) => {
        const recorded = recordedLayers(layers as Parameters<typeof recordedLayers>[0]) ?? [];
        const paths = recorded.flatMap(({ storePaths }) => storePaths);
        expect(new Set(paths).size).toBe(paths.length);
        for (const { storePaths } of recorded) expect(storePaths.length).toBeGreaterThan(0);
        for (const path of paths) expect(path).toMatch(/^\/[^\0]*\/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+$/);
      }),
    );
  });

  it("is read in no more than linear time", () => {
    const opened = `store paths: [${"'".repeat(3_000_000)}]`;
    expect(parseStorePathsComment(opened)).toBeUndefined();
    const many = storePathsComment(Array.from({ length: 50_000 }, (_, i) => `/nix/store/${i}`));
    expect(recordedLayers([{ comment: many }])).toEqual([]);
    const commas = `store paths: [${"'a', ".repeat(300_000)}'a']`;
    expect(recordedLayers([{ comment: commas }])).toEqual([]);
  });
});
