import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { beforeEach, describe, expect, it } from "vitest";
import { openBlobCache } from "../../../src/cache/blob-cache.js";
import { openDigestCache } from "../../../src/cache/digest-cache.js";
import { cacheInfo, pruneCache } from "../../../src/cache/maintenance.js";
import { hexOf, sha256 } from "../../../src/core/digest.js";
import { digest, temporaryDirectory } from "./fixtures.js";

let directory: string;
let file: string;
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = temporary.path;
  file = join(directory, "digests.sqlite");
  return temporary.remove;
});

function fill(count: number): void {
  const cache = openDigestCache(directory);
  for (let n = 0; n < count; n++) {
    cache.rememberLayer(digest(`key ${n}`), { diffId: digest(`layer ${n}`), size: n }, `layer ${n}`);
    cache.rememberBlob(digest(`layer ${n}`), "gzip:6", { digest: digest(`blob ${n}`), size: n });
  }
  cache.close();
}

/** As if the first `count` layers and blobs of {@link fill} had last been used so many days ago. */
function age(count: number, days: number): void {
  const database = new Database(file);
  database.pragma("synchronous = OFF");
  const used = Math.floor(Date.now() / 86_400_000) - days;
  for (let n = 0; n < count; n++) {
    const bytes = (name: string) => Buffer.from(hexOf(digest(name)), "hex");
    database.prepare("UPDATE layers SET used = ? WHERE key = ?").run(used, bytes(`key ${n}`));
    database.prepare("UPDATE blobs SET used = ? WHERE diff_id = ?").run(used, bytes(`layer ${n}`));
  }
  database.close();
}

async function keep(size: number, name: string, days: number): Promise<void> {
  const bytes = Buffer.alloc(size, name);
  const sink = await openBlobCache(directory, 1e9).begin();
  await sink.write(bytes);
  await sink.commit({ digest: sha256(bytes), size });
  const time = Date.now() / 1000 - 86_400 * days - 60;
  utimesSync(join(directory, "blobs/sha256", hexOf(sha256(bytes))), time, time);
}

describe("what the cache holds", () => {
  it("is counted", async () => {
    fill(3);
    await keep(1000, "a", 0);
    await keep(500, "b", 0);
    expect(cacheInfo(directory)).toEqual({
      directory,
      digests: { size: statSync(file).size, layers: 3, blobs: 3 },
      blobs: { count: 2, size: 1500 },
    });
  });

  it("is not changed by looking, nor where it is unusable", () => {
    writeFileSync(file, "no database at all, but long enough".repeat(100));
    const { digests } = cacheInfo(directory);
    expect(digests).toEqual({ size: 3500, layers: 0, blobs: 0, unusable: "file is not a database" });
    expect(readdirSync(directory)).toEqual(["digests.sqlite"]);
  });

  it("cannot be told where the file is none", () => {
    mkdirSync(file);
    expect(() => cacheInfo(directory)).toThrow(expect.objectContaining({ code: "unreadable" }));
  });
});

describe("pruning", () => {
  it("removes what was not used for some days, and no more", async () => {
    fill(10);
    age(4, 8);
    await keep(1000, "old", 8);
    await keep(500, "new", 6);
    expect(pruneCache(directory, { olderThanDays: 7 })).toEqual({ digests: 8, blobs: 1, blobBytes: 1000 });
    expect(cacheInfo(directory)).toMatchObject({ digests: { layers: 6, blobs: 6 }, blobs: { count: 1, size: 500 } });
  });

  it("spares what was looked up since", () => {
    fill(2);
    age(2, 30);
    const cache = openDigestCache(directory);
    cache.layer(digest("key 1"));
    cache.blob(digest("layer 1"), "gzip:6");
    cache.close();
    expect(pruneCache(directory, { olderThanDays: 0 })).toMatchObject({ digests: 2 });
    const again = openDigestCache(directory);
    expect([again.layer(digest("key 0")), again.layer(digest("key 1"))?.size]).toEqual([undefined, 1]);
    again.close();
  });

  it("removes packed layers first where all takes too much", async () => {
    fill(10);
    await keep(100_000, "old", 2);
    await keep(100_000, "new", 1);
    expect(pruneCache(directory, { maxBytes: 150_000 })).toEqual({ digests: 0, blobs: 1, blobBytes: 100_000 });
    expect(pruneCache(directory, { maxBytes: 50_000 })).toEqual({ digests: 0, blobs: 1, blobBytes: 100_000 });
    expect(cacheInfo(directory).digests.layers).toBe(10);
  });

  it("removes the digests that were least recently used where they alone take too much", () => {
    fill(1000);
    age(500, 3);
    const { digests } = pruneCache(directory, { maxBytes: 150_000 });
    expect(digests).toBeGreaterThan(0);
    expect(statSync(file).size).toBeLessThanOrEqual(150_000);
    const cache = openDigestCache(directory);
    expect(cache.layer(digest("key 999"))).toBeDefined();
    cache.close();
    expect(pruneCache(directory, { maxBytes: 0 }).digests).toBe(2000 - digests);
  });

  it("removes everything, also what was set aside", async () => {
    writeFileSync(file, "no database at all, but long enough".repeat(100));
    fill(10);
    await keep(1000, "a", 0);
    expect(readdirSync(directory)).toContain("digests.sqlite.unusable");
    expect(pruneCache(directory, { all: true })).toEqual({ digests: 20, blobs: 1, blobBytes: 1000 });
    expect(readdirSync(directory, { recursive: true }).sort()).toEqual(["blobs", "blobs/sha256", "digests.sqlite"]);
    expect(cacheInfo(directory)).toMatchObject({ digests: { layers: 0, blobs: 0 }, blobs: { count: 0 } });
  });

  it("empties a damaged cache", () => {
    writeFileSync(file, "no database at all, but long enough".repeat(100));
    expect(pruneCache(directory, { olderThanDays: 7 })).toEqual({ digests: 0, blobs: 0, blobBytes: 0 });
    expect(cacheInfo(directory).digests).not.toHaveProperty("unusable");
    expect(readdirSync(directory)).toEqual(["digests.sqlite"]);
  });

  it("makes no cache where there is none", () => {
    expect(pruneCache(join(directory, "none"), { all: true })).toEqual({ digests: 0, blobs: 0, blobBytes: 0 });
    expect(readdirSync(directory)).toEqual([]);
  });
});
