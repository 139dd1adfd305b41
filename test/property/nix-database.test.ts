import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../src/core/digest.js";
import type { GeneratedObject } from "../../src/core/generated-object.js";
import { openSqlitePrivate } from "../../src/core/sqlite.js";
import { createClosure, type StoreObject } from "../../src/nix/closure.js";
import { nixDatabaseTree } from "../../src/nix/database-tree.js";
import { normaliseNarHash } from "../../src/nix/hash.js";
import type { StorePath } from "../../src/nix/store-path.js";

const path = (i: number) => `/nix/store/${String(i).padStart(32, "0")}-p${i % 7}` as StorePath;

/** Objects that refer to later ones and themselves, in any order, and which of them are left out. */
const graphs = fc.nat({ max: 40 }).chain((last) =>
  fc.tuple(
    fc
      .array(
        fc.record({
          steps: fc.array(fc.nat({ max: 20 }), { maxLength: 6 }),
          narHash: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex")),
          narSize: fc.maxSafeNat(),
        }),
        { minLength: last + 1, maxLength: last + 1 },
      )
      .map((rows) =>
        rows.map(({ steps, narHash, narSize }, i) => ({
          object: {
            path: path(i),
            narHash: normaliseNarHash(narHash),
            narSize,
            references: steps.map((step) => path(Math.min(i + step, last))),
          } satisfies StoreObject,
          hex: narHash,
        })),
      )
      .chain((objects) => fc.shuffledSubarray(objects, { minLength: objects.length })),
    fc.array(fc.nat({ max: last }), { maxLength: 2 }).map((excluded) => new Set(excluded.map(path))),
  ),
);

/** Quicker to compare than the bytes one by one. */
function textOf(tree: readonly GeneratedObject[]): string {
  return JSON.stringify(tree, (_, value) => (value instanceof Uint8Array ? sha256(value) : value));
}

describe("a Nix database", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "nix-database-property-"));
    return () => rmSync(directory, { recursive: true });
  });

  it("holds what is shipped and nothing else, or is refused because something refers to what is not", () => {
    const options = {
      storeDir: "/nix/store",
      storeRoot: "/nonexistent",
      owner: { uid: 0, gid: 0, uname: "root", gname: "root" },
    };
    let written = 0;
    let refused = 0;
    fc.assert(
      fc.property(graphs, ([rows, excluded]) => {
        const closure = createClosure({
          storeDir: "/nix/store",
          objects: rows.map(({ object }) => object),
          source: "t",
        });
        const shipped = [...closure.objects.values()].filter((object) => !excluded.has(object.path));
        const open = shipped.filter(({ references }) => references.some((reference) => excluded.has(reference)));
        if (open.length > 0) {
          expect(() => nixDatabaseTree(shipped, options)).toThrowError(open[0]?.path as string);
          refused++;
          return;
        }
        const tree = nixDatabaseTree(shipped, options);
        written++;
        const paths = shipped.map((object) => object.path);
        const file = join(directory, `${written}.sqlite`);
        const last = tree[tree.length - 1];
        writeFileSync(file, last !== undefined && "contents" in last ? last.contents : "");
        const database = openSqlitePrivate(file);
        try {
          const hexOf = new Map(rows.map(({ object, hex }) => [object.path, `sha256:${hex}`]));
          expect(database.prepare("select path, hash, narSize from ValidPaths order by id").raw().all()).toEqual(
            shipped.map((object) => [object.path, hexOf.get(object.path), object.narSize]),
          );
          const references = database.prepare(
            "select a.path, b.path from Refs join ValidPaths a on a.id = referrer join ValidPaths b on b.id = reference order by referrer, reference",
          );
          expect(references.raw().all()).toEqual(
            shipped.flatMap((object) => object.references.map((reference) => [object.path, reference])),
          );
          expect(database.prepare("select count(*) from Refs").pluck().get()).toBe(
            shipped.reduce((sum, object) => sum + object.references.length, 0),
          );
          expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
        } finally {
          database.close();
        }
        expect(tree.flatMap((made) => (made.type === "symlink" ? [made.linkTarget] : []))).toEqual(paths);
        expect(textOf(nixDatabaseTree([...shipped].reverse(), options))).toBe(textOf(tree));
      }),
      { numRuns: 150 },
    );
    expect(Math.min(written, refused)).toBeGreaterThan(10);
  });
});
