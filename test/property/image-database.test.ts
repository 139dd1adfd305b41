import { writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layersOf } from "../support/layers.js";
import { makeStore } from "../support/vectors.js";

const DIGITS = "0123456789abcdfghijklmnpqrsvwxyz";
const pathOf = (i: number) => `/nix/store/${(DIGITS[i] as string).repeat(32)}-p${i}`;

/** A closure in which paths refer to paths of lower numbers, and a spec that ships some of it in some way. */
const cases = fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 9 }).chain((links) => {
  const count = links.length;
  const paths = fc.uniqueArray(fc.nat({ max: count - 1 }), { maxLength: 3 });
  return fc.record({
    references: fc.constant(links.map((targets, i) => (i === 0 ? [] : targets.map((target) => target % (i + 1))))),
    roots: paths,
    copyToRoot: paths,
    exclude: fc.oneof({ weight: 3, arbitrary: fc.constant<number[]>([]) }, paths),
    layers: fc.array(
      fc.record({
        deps: fc.uniqueArray(fc.nat({ max: count - 1 }), { minLength: 1, maxLength: 2 }),
        copyToRoot: paths,
      }),
      { maxLength: 2 },
    ),
    maxLayers: fc.integer({ min: 4, max: 8 }),
  });
});

describe("the Nix database of an image", () => {
  it("names exactly the store paths that are in the image at their own place, and only whole closures", async () => {
    let made = 0;
    let refused = 0;
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ references, roots, copyToRoot, exclude, layers, maxLayers }) => {
        const store = makeStore(
          Object.fromEntries(
            references.map((_, i) => [
              pathOf(i),
              [
                { path: "", type: "directory", mode: 0o555 } as const,
                { path: `file-${i}`, type: "file", text: `${i}`, mode: 0o444 } as const,
              ],
            ]),
          ),
        );
        try {
          const graph = join(store.root, "graph.json");
          const objects = references.map((targets, i) => ({
            path: pathOf(i),
            narHash: `sha256:${"0".repeat(51)}${i}`,
            narSize: 100 + i,
            references: [...new Set(targets)].map(pathOf),
          }));
          writeFileSync(graph, JSON.stringify(objects));
          const spec = {
            closure: { graph, storeRoot: store.root, roots: roots.map(pathOf) },
            copyToRoot: copyToRoot.map(pathOf),
            exclude: exclude.map(pathOf),
            layers: layers.map((layer) => ({ deps: layer.deps.map(pathOf), copyToRoot: layer.copyToRoot.map(pathOf) })),
            maxLayers,
            nixDatabase: {},
          };
          let lines: readonly string[];
          try {
            lines = (await layersOf(spec)).flat();
          } catch (error) {
            // An excluded path that something shipped refers to, a path that is nowhere at its own place but referred to, or nothing.
            expect((error as Error).message).toMatch(
              /refers to|every store path is excluded|nothing is to be in the image|holds no store paths|is not in the (closure|image)|not in .*closure/,
            );
            refused++;
            return;
          }
          made++;
          if (lines.some((line) => /^- .* file-\d/.test(line))) moved++;
          const inImage = new Set(
            lines.flatMap((line) => /^d .* (nix\/store\/[^/]+)\/$/.exec(line)?.[1] ?? []).map((name) => `/${name}`),
          );
          inImage.delete("/nix/store/.links");
          const database = lines.find((line) => line.includes("nix/var/nix/db/db.sqlite = ")) as string;
          const db = new Database(readOnlyCopy(database));
          const registered = db.prepare("select path from ValidPaths order by path").pluck().all() as string[];
          expect(registered).toEqual([...inImage].sort());
          const known = new Map(objects.map((object) => [object.path, object.references]));
          for (const path of registered) {
            const refs = db
              .prepare(
                "select r.path from Refs join ValidPaths p on p.id = referrer join ValidPaths r on r.id = reference where p.path = ? order by r.path",
              )
              .pluck()
              .all(path);
            expect(refs).toEqual([...(known.get(path) ?? [])].sort());
          }
          const roots_ = lines.filter((line) => line.includes("gcroots/docker/") && line.startsWith("l "));
          expect(roots_.map((line) => line.split(" -> ")[1]).sort()).toEqual(registered);
          db.close();
        } finally {
          store.remove();
        }
      }),
      { numRuns: 150 },
    );
    expect(made).toBeGreaterThan(40);
    expect(refused).toBeGreaterThan(5);
    expect(moved).toBeGreaterThan(5);
  });
});

/** In memory; SQLite opens a database in WAL mode from there only as one without. */
function readOnlyCopy(line: string): Buffer {
  const bytes = Buffer.from(line.slice(line.indexOf(" = ") + 3), "latin1");
  bytes[18] = 1;
  bytes[19] = 1;
  return bytes;
}
