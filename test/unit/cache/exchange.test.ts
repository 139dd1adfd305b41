import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { openDigestCache } from "../../../src/cache/digest-cache.js";
import { exportCache, importCache } from "../../../src/cache/exchange.js";
import { cacheInfo } from "../../../src/cache/maintenance.js";
import { sha256 } from "../../../src/core/digest.js";
import { digest, temporaryDirectory } from "./fixtures.js";

let directory: string;
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = temporary.path;
  return temporary.remove;
});

function fill(into: string, entries: readonly (readonly [key: string, size: number, title: string])[]): void {
  const cache = openDigestCache(into);
  for (const [key, size, title] of entries) {
    cache.rememberLayer(sha256(key), { diffId: sha256(`diff ${key}`), size }, title);
    cache.rememberBlob(sha256(`diff ${key}`), `codec ${title}`, { digest: sha256(`blob ${key}`), size });
  }
  cache.close();
}

const entriesArbitrary = fc.uniqueArray(
  fc.tuple(fc.string({ unit: "binary" }), fc.maxSafeNat(), fc.string({ unit: "binary" })),
  { selector: ([key]) => key, maxLength: 30 },
);

describe("an export", () => {
  it("gives an empty cache the same digests, in whatever order they were remembered", () => {
    let run = 0;
    fc.assert(
      fc.property(entriesArbitrary, (entries) => {
        run++;
        const [from, to, other] = ["from", "to", "other"].map((name) => join(directory, `${name}${run}`));
        fill(from as string, entries);
        fill(other as string, [...entries].reverse());
        const text = exportCache(from as string);
        expect(exportCache(other as string)).toBe(text);
        expect(importCache(to as string, text, "file")).toEqual({ added: 2 * entries.length, known: 0 });
        expect(exportCache(to as string)).toBe(text);
        const cache = openDigestCache(to as string);
        for (const [key, size] of entries) {
          expect(cache.layer(sha256(key))).toMatchObject({ diffId: sha256(`diff ${key}`), size });
        }
        cache.close();
        expect(importCache(to as string, text, "file")).toEqual({ added: 0, known: 2 * entries.length });
      }),
      { numRuns: 25 },
    );
  });

  it("of no cache is one of no digests, and makes none", () => {
    expect(exportCache(join(directory, "none"))).toBe(
      '{"format":"oci-nix digests","version":1,"layers":0,"blobs":0}\n',
    );
    expect(cacheInfo(join(directory, "none")).digests).toEqual({ size: 0, layers: 0, blobs: 0 });
  });

  it("of a damaged cache fails rather than lose what an earlier export holds", () => {
    writeFileSync(join(directory, "digests.sqlite"), "no database at all, but long enough".repeat(100));
    expect(() => exportCache(directory)).toThrow(
      expect.objectContaining({ code: "unreadable", hint: "oci-nix cache prune --all empties it" }),
    );
  });
});

describe("an import", () => {
  const HEAD = '{"format":"oci-nix digests","version":1,"layers":1,"blobs":1}';
  const LAYER = { layer: digest("key"), diffId: digest("diff"), size: 1, title: "a" };
  const BLOB = { blob: digest("diff"), codec: "gzip", digest: digest("packed"), size: 1 };
  const fileOf = (layer: object, blob: object = BLOB) => `${HEAD}\n${JSON.stringify(layer)}\n${JSON.stringify(blob)}\n`;
  const known = () => {
    const { layers, blobs } = cacheInfo(directory).digests;
    return layers + blobs;
  };

  it("takes a whole file", () => {
    expect(importCache(directory, fileOf(LAYER), "file")).toEqual({ added: 2, known: 0 });
    expect(known()).toBe(2);
  });

  it.each([
    ["nothing", "", /^file line 1: an empty line/],
    ["another file", "hello\n", /^file line 1: not valid JSON/],
    ["other JSON", '{"a":1}\n', /^file line 1: no digests that oci-nix cache export wrote/],
    ["an array", "[]\n", /^file line 1: no JSON object/],
    ["a later version", HEAD.replace('"version":1', '"version":2'), /^file line 1: version 2 of the format, not 1/],
    ["a negative count", HEAD.replace('"blobs":1', '"blobs":-1'), /^file line 1: blobs is -1/],
    [
      "a missing line",
      `${HEAD}\n${JSON.stringify(LAYER)}\n`,
      /^file is not whole: it has 1 of 1 layers and 0 of 1 blobs/,
    ],
    ["half a line", fileOf(LAYER).slice(0, -20), /^file line 3: not valid JSON/],
    ["an empty line", fileOf(LAYER).replace("\n", "\n\n"), /^file line 2: an empty line/],
    ["a bad digest", fileOf({ ...LAYER, diffId: "sha256:ABC" }), /^file line 2: diffId: "sha256:ABC" is not a sha256/],
    ["no digest", fileOf(LAYER, { ...BLOB, digest: undefined }), /^file line 3: digest: undefined is not a sha256/],
    ["a broken size", fileOf({ ...LAYER, size: 1.5 }), /^file line 2: size is 1.5, not a whole number/],
    ["a size that is text", fileOf({ ...LAYER, size: "1" }), /^file line 2: size is "1"/],
    ["a title that is none", fileOf({ ...LAYER, title: 1 }), /^file line 2: title is 1, not a text/],
    ["a lone surrogate", fileOf({ ...LAYER, title: "\ud800" }), /^file line 2: title is "\\ud800", not a text/],
    ["an unknown key", fileOf({ ...LAYER, more: 1 }), /^file line 2: unknown key "more"/],
    ["an unknown kind", fileOf({ image: 1 }), /^file line 2: neither a layer nor a blob/],
    ["a layer twice", fileOf(LAYER, LAYER), /^file line 3: sha256:[0-9a-f]{64} a second time/],
  ])("refuses %s, and imports nothing", (_, text, message) => {
    expect(() => importCache(directory, text, "file")).toThrow(
      expect.objectContaining({ code: "invalid-input", message: expect.stringMatching(message) }),
    );
    expect(known()).toBe(0);
  });

  it.each([
    ["diffID", { ...LAYER, diffId: digest("other") }, BLOB],
    ["size", { ...LAYER, size: 2 }, BLOB],
    ["packed digest", { ...LAYER, layer: digest("other") }, { ...BLOB, digest: digest("other") }],
  ])("refuses a file whose %s is not what the cache says, and imports nothing", (_, layer, blob) => {
    importCache(directory, fileOf(LAYER), "file");
    const before = exportCache(directory);
    expect(() => importCache(directory, fileOf(layer, blob), "other file")).toThrow(
      expect.objectContaining({ code: "conflict", message: expect.stringContaining("nothing was imported") }),
    );
    expect(exportCache(directory)).toBe(before);
  });

  it("takes another title for the same layer, and keeps the first", () => {
    importCache(directory, fileOf(LAYER), "file");
    expect(importCache(directory, fileOf({ ...LAYER, title: "b" }), "file")).toEqual({ added: 0, known: 2 });
    expect(exportCache(directory)).toContain('"title":"a"');
  });

  it("makes a damaged cache anew", () => {
    writeFileSync(join(directory, "digests.sqlite"), "no database at all, but long enough".repeat(100));
    expect(importCache(directory, fileOf(LAYER), "file")).toEqual({ added: 2, known: 0 });
    expect(known()).toBe(2);
  });
});
