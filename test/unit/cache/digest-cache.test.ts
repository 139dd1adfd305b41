import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { type DigestCache, openDigestCache } from "../../../src/cache/digest-cache.js";
import { digest, temporaryDirectory } from "./fixtures.js";

const LAYER = { diffId: digest("tar"), size: 4096 };
const BLOB = { digest: digest("tar.gz"), size: 1000 };

let directory: string;
let file: string;
let problems: string[];
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = join(temporary.path, "cache");
  file = join(directory, "digests.sqlite");
  problems = [];
  return temporary.remove;
});

const open = () => openDigestCache(directory, { onProblem: (message) => problems.push(message) });

function inCache<T>(run: (cache: DigestCache) => T): T {
  const cache = open();
  try {
    return run(cache);
  } finally {
    cache.close();
  }
}

/** Remembers so many layers and their blobs. */
function fill(count: number): void {
  inCache((cache) => {
    for (let n = 0; n < count; n++) {
      cache.rememberLayer(digest(`key ${n}`), { diffId: digest(`layer ${n}`), size: n }, `layer ${n}`);
      cache.rememberBlob(digest(`layer ${n}`), "gzip:6", { digest: digest(`blob ${n}`), size: n });
    }
  });
}

/** How many of the layers and blobs of {@link fill} are known; fails where one is known wrongly. */
function known(cache: DigestCache, count: number): number {
  let found = 0;
  for (let n = 0; n < count; n++) {
    const layer = cache.layer(digest(`key ${n}`));
    const blob = cache.blob(digest(`layer ${n}`), "gzip:6");
    if (layer !== undefined) expect(layer).toMatchObject({ diffId: digest(`layer ${n}`), size: n });
    if (blob !== undefined) expect(blob).toMatchObject({ digest: digest(`blob ${n}`), size: n });
    found += (layer === undefined ? 0 : 1) + (blob === undefined ? 0 : 1);
  }
  return found;
}

function change(sql: string, ...values: unknown[]): void {
  const database = new Database(file);
  database.prepare(sql).run(...values);
  database.close();
}

describe("the digest cache", () => {
  it("knows from one opening to the next what it was told", () => {
    inCache((cache) => {
      expect(cache.layer(digest("key"))).toBeUndefined();
      cache.rememberLayer(digest("key"), LAYER, "glibc");
      cache.rememberBlob(LAYER.diffId, "gzip:6", BLOB);
      expect(cache.layer(digest("key"))).toEqual(LAYER);
    });
    inCache((cache) => {
      expect(cache.layer(digest("key"))).toEqual(LAYER);
      expect(cache.layer(digest("another"))).toBeUndefined();
      expect(cache.blob(LAYER.diffId, "gzip:6")).toEqual(BLOB);
      expect(cache.blob(LAYER.diffId, "gzip:9")).toBeUndefined();
      cache.forgetLayer(digest("key"));
      cache.forgetBlob(LAYER.diffId, "gzip:6");
    });
    inCache((cache) => {
      expect(cache.layer(digest("key"))).toBeUndefined();
      expect(cache.blob(LAYER.diffId, "gzip:6")).toBeUndefined();
    });
    expect(problems).toEqual([]);
  });

  it("replaces what was remembered before", () => {
    inCache((cache) => {
      cache.rememberLayer(digest("key"), LAYER, "old");
      cache.rememberLayer(digest("key"), { ...LAYER, size: 1 }, "new");
      expect(cache.layer(digest("key"))).toMatchObject({ size: 1 });
    });
  });

  it("is in a directory of its own that nobody else may enter", () => {
    fill(1);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(readdirSync(directory)).toEqual(["digests.sqlite"]);
  });

  it.each([
    ["another diffID", "UPDATE layers SET diff_id = ?", Buffer.alloc(32)],
    ["another size", "UPDATE layers SET size = ?", 4097],
    ["another title", "UPDATE layers SET title = ?", "x"],
    ["a size that is text", "UPDATE layers SET size = ?", "4096 bytes"],
    ["a short diffID", "UPDATE layers SET diff_id = substr(diff_id, ?)", 2],
    ["no checksum", "UPDATE layers SET checksum = ?", null],
    ["another layer's key", "UPDATE layers SET key = ?", Buffer.from(digest("other").slice(7), "hex")],
  ])("does not know a layer whose row has %s, and drops the row", (_, sql, value) => {
    inCache((cache) => cache.rememberLayer(digest("key"), LAYER, "glibc"));
    change(sql, value);
    inCache((cache) => {
      expect(cache.layer(digest("key"))).toBeUndefined();
      expect(cache.layer(digest("other"))).toBeUndefined();
    });
    const database = new Database(file, { readonly: true });
    expect(database.prepare("SELECT count(*) FROM layers").pluck().get()).toBe(0);
    database.close();
  });

  it("does not drop a row that was damaged and then written anew", () => {
    inCache((cache) => cache.rememberLayer(digest("key"), LAYER, "glibc"));
    change("UPDATE layers SET size = 1");
    inCache((cache) => {
      expect(cache.layer(digest("key"))).toBeUndefined();
      cache.rememberLayer(digest("key"), LAYER, "glibc");
    });
    inCache((cache) => expect(cache.layer(digest("key"))).toEqual(LAYER));
  });

  it.each(["a \ud800 lone surrogate", "a \0 zero", "é 日本", "", "line\nbreak"])("takes the title %j", (title) => {
    inCache((cache) => cache.rememberLayer(digest("key"), LAYER, title));
    inCache((cache) => expect(cache.layer(digest("key"))).toEqual(LAYER));
  });
});

describe("a file that is no digest cache of this version", () => {
  const makeAnew = () => {
    inCache((cache) => {
      expect(cache.layer(digest("key 0"))).toBeUndefined();
      cache.rememberLayer(digest("key"), LAYER, "glibc");
    });
    expect(problems).toEqual([expect.stringMatching(/digests\.sqlite is made anew: /)]);
    inCache((cache) => expect(cache.layer(digest("key"))).toEqual(LAYER));
    expect(problems).toHaveLength(1);
  };

  it.each([
    ["a newer version's", "PRAGMA user_version = 2"],
    ["an older version's", "PRAGMA user_version = 0"],
    ["another program's", "PRAGMA application_id = 1"],
    ["one with a view", "CREATE VIEW other AS SELECT 1"],
    ["one with a trigger", "CREATE TRIGGER t AFTER INSERT ON layers BEGIN DELETE FROM layers; END"],
    ["one without a table", "DROP TABLE blobs"],
    ["one with another column", "ALTER TABLE blobs ADD COLUMN more"],
  ])("is made anew: %s", (_, sql) => {
    fill(2);
    const database = new Database(file);
    database.exec(sql);
    database.close();
    makeAnew();
    expect(readdirSync(directory).sort()).toEqual(["digests.sqlite", "digests.sqlite.unusable"]);
  });

  it("is made anew where it is text, and set aside, not lost", () => {
    mkdirSync(directory);
    writeFileSync(file, "somebody's notes\n".repeat(100));
    makeAnew();
    expect(readFileSync(`${file}.unusable`, "utf8")).toContain("somebody's notes");
  });

  it("is begun where it is empty", () => {
    mkdirSync(directory);
    writeFileSync(file, "");
    fill(1);
    expect(problems).toEqual([]);
    inCache((cache) => expect(known(cache, 1)).toBe(2));
  });

  it.each(["-wal", "-shm", "-journal"])("is not made by a foreign %s beside it", (end) => {
    fill(100);
    writeFileSync(file + end, Buffer.alloc(40_000, 0xa7));
    inCache((cache) => expect(known(cache, 100)).toBeLessThanOrEqual(200));
    fill(100);
    inCache((cache) => expect(known(cache, 100)).toBe(200));
  });

  it.each([
    ["a directory", () => mkdirSync(file, { recursive: true })],
    ["below a file", () => writeFileSync(directory, "")],
  ])("is left alone where it is %s", (_, make) => {
    make();
    inCache((cache) => {
      cache.rememberLayer(digest("key"), LAYER, "glibc");
      expect(cache.layer(digest("key"))).toBeUndefined();
    });
    expect(problems).toHaveLength(1);
    expect(existsSync(`${file}.unusable`)).toBe(false);
  });

  it("never gives a wrong digest, wherever it is damaged or cut off", () => {
    fill(150);
    const whole = readFileSync(file);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 200 })), { maxLength: 8 }),
        fc.option(fc.nat(whole.length)),
        (damages, length) => {
          const bytes = Buffer.from(whole);
          for (const [at, with_] of damages) bytes.set(with_.subarray(0, bytes.length - at), at);
          writeFileSync(file, bytes);
          if (length !== null) truncateSync(file, length);
          inCache((cache) => known(cache, 150));
          fill(150);
          // Damaged keys can hide others from a search, which makes them unknown.
          inCache((cache) => expect(known(cache, 150)).toBeGreaterThan(100));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("is replaced while it is in use, where it is damaged then", () => {
    fill(150);
    const cache = open();
    expect(known(cache, 1)).toBe(2);
    writeFileSync(file, Buffer.alloc(100_000, 0x5a));
    known(cache, 150);
    cache.rememberLayer(digest("key"), LAYER, "glibc");
    cache.close();
    inCache((again) => expect(again.layer(digest("key"))).toEqual(LAYER));
  });
});

describe("a file that another process replaced", () => {
  it("is what is written to from then on", () => {
    fill(1);
    const cache = open();
    renameSync(file, `${file}.unusable`);
    fill(2);
    cache.rememberLayer(digest("key"), LAYER, "glibc");
    expect(known(cache, 2)).toBe(4);
    cache.close();
    inCache((again) => expect(again.layer(digest("key"))).toEqual(LAYER));
    expect(problems).toEqual([]);
  });
});

describe("a lock that is held", () => {
  it("is waited for once, and meanwhile nothing is known or remembered", () => {
    fill(1);
    const other = new Database(file);
    const cache = open();
    other.exec("BEGIN EXCLUSIVE");
    // With a wait each the test would not end in time.
    for (let n = 0; n < 200; n++) cache.rememberLayer(digest(`more ${n}`), LAYER, "x");
    expect(known(cache, 1)).toBe(0);
    other.exec("COMMIT");
    expect(known(cache, 1)).toBe(2);
    cache.rememberLayer(digest("later"), LAYER, "x");
    expect(cache.layer(digest("later"))).toEqual(LAYER);
    cache.close();
    other.close();
    expect(problems.join("\n")).toMatch(/is locked/);
  });
});
