import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSqlitePrivate } from "../../../src/core/sqlite.js";
import { nixDatabaseFile, readLocalClosure } from "../../../src/nix/local-database.js";
import { path } from "./fixtures.js";

const SCHEMA = `
  create table ValidPaths (id integer primary key, path text unique not null, hash text not null, narSize integer);
  create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
`;
const A = path("a");

describe("nixDatabaseFile", () => {
  it("is beside the store directory, below the store's root", () => {
    expect(nixDatabaseFile("/nix/store")).toBe("/nix/var/nix/db/db.sqlite");
    expect(nixDatabaseFile("/opt/nix/store", "/mnt")).toBe("/mnt/opt/nix/var/nix/db/db.sqlite");
  });
});

describe("readLocalClosure", () => {
  let storeRoot: string;
  let file: string;
  beforeEach(() => {
    storeRoot = mkdtempSync(join(tmpdir(), "local-database-"));
    file = nixDatabaseFile("/nix/store", storeRoot);
    mkdirSync(dirname(file), { recursive: true });
  });
  afterEach(() => rmSync(storeRoot, { recursive: true }));

  const create = (sql: string) => {
    writeFileSync(file, "");
    const database = openSqlitePrivate(file);
    database.exec(sql);
    database.close();
  };
  const valid = (id: number, name: string, hash = "sha256:".padEnd(71, "0"), narSize = "5") =>
    `insert into ValidPaths values (${id}, '${path(name)}', '${hash}', ${narSize});`;

  it("reads databases of a Nix that has no derivers and content addresses", async () => {
    create(`${SCHEMA} ${valid(1, "a")} ${valid(2, "b")} insert into Refs values (1, 2), (1, 1);`);
    const narHash = `sha256:${"0".repeat(52)}`;
    expect([...(await readLocalClosure([A], { storeRoot })).objects.values()]).toEqual([
      { path: A, narHash, narSize: 5, references: [A, path("b")] },
      { path: path("b"), narHash, narSize: 5, references: [] },
    ]);
  });

  it("does not know a size that was not recorded", async () => {
    create(`${SCHEMA} ${valid(1, "a", undefined, "null")}`);
    expect((await readLocalClosure([A], { storeRoot })).objects.get(A)?.narSize).toBeUndefined();
  });

  it.each([
    [
      "a file that is no database",
      () => writeFileSync(file, "no database".repeat(200)),
      "is not an intact SQLite database",
    ],
    ["an empty file", () => writeFileSync(file, ""), "it lacks the table ValidPaths"],
    ["a database of something else", () => create("create table x (y)"), "it lacks the table ValidPaths"],
    ["a database without Refs", () => create(SCHEMA.replace("Refs", "Others")), "it lacks the table Refs"],
    [
      "a database without hashes",
      () => create(SCHEMA.replace("hash", "digest")),
      "it lacks the column hash of the table",
    ],
    ["a bad hash", () => create(`${SCHEMA} ${valid(1, "a", "md5:x")}`), `hash of ${A}: "md5:x" is not a hash`],
    ["a bad size", () => create(`${SCHEMA} ${valid(1, "a", undefined, "-5")}`), `narSize of ${A}: -5 is not a size`],
    [
      "a bad path",
      () =>
        create(
          `${SCHEMA} ${valid(1, "a")} insert into ValidPaths values (2, '/x', '${"0".repeat(64)}', 1); insert into Refs values (1, 2);`,
        ),
      '"/x" is not a store path',
    ],
    [
      "a reference to nothing",
      () => create(`${SCHEMA} ${valid(1, "a")} insert into Refs values (1, 9);`),
      "refers to number 9, which is missing",
    ],
  ])("rejects %s", async (_, make, message) => {
    make();
    await expect(readLocalClosure([A], { storeRoot })).rejects.toMatchObject({
      name: "OciNixError",
      code: "invalid-input",
      message: expect.stringContaining(message),
    });
    await expect(readLocalClosure([A], { storeRoot })).rejects.toThrow(file);
    expect(readdirSync(dirname(file))).toEqual(["db.sqlite"]);
  });

  it("rejects a database of which pages are overwritten", async () => {
    create(`${SCHEMA} ${Array.from({ length: 200 }, (_, n) => valid(n + 1, n === 0 ? "a" : `b${n}`)).join("")}`);
    const database = openSqlitePrivate(file);
    const size = (database.pragma("page_count", { simple: true }) as number) * 4096;
    database.close();
    const bytes = Buffer.alloc(size, 0xff);
    readFileSync(file).copy(bytes, 0, 0, 4096);
    writeFileSync(file, bytes);
    await expect(readLocalClosure([A], { storeRoot })).rejects.toMatchObject({
      code: "invalid-input",
      hint: expect.stringContaining("--closure FILE"),
    });
  });

  it("says where it looked for a database that is missing, and what else to give", async () => {
    await expect(readLocalClosure([A], { storeRoot })).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining(file),
      hint: expect.stringMatching(/--closure FILE.*--store-root DIR/),
    });
  });

  it("rejects a directory in place of the database", async () => {
    mkdirSync(file);
    await expect(readLocalClosure([A], { storeRoot })).rejects.toMatchObject({ code: "unreadable" });
  });

  describe("that has to be copied and changes meanwhile", () => {
    beforeEach(() => create(`pragma journal_mode = wal; ${SCHEMA} ${valid(1, "a")}`));

    /** Touches the file every 5 ms while `action` runs, but no longer than `durationMs`. */
    const whileTouched = async <T>(durationMs: number, action: () => Promise<T>): Promise<T> => {
      const endMs = Date.now() + durationMs;
      const touch = () => {
        const nowMs = Date.now();
        // A little ahead, so that a late timer on a busy machine does not look like a pause.
        if (nowMs < endMs) utimesSync(file, new Date(nowMs), new Date(nowMs + 15));
      };
      touch();
      const timer = setInterval(touch, 5);
      try {
        return await action();
      } finally {
        clearInterval(timer);
      }
    };

    it("waits for a moment without changes", async () => {
      const started = performance.now();
      const closure = await whileTouched(200, () => readLocalClosure([A], { storeRoot }));
      expect(closure.roots).toEqual([A]);
      expect(performance.now() - started).toBeGreaterThan(200);
      expect(readdirSync(dirname(file))).toEqual(["db.sqlite"]);
    });

    it("gives up where there is none", async () => {
      const reading = whileTouched(60_000, () => readLocalClosure([A], { storeRoot }));
      await expect(reading).rejects.toMatchObject({ code: "changed" });
    });
  });

  it("rejects roots that are none", async () => {
    await expect(readLocalClosure([], { storeRoot })).rejects.toMatchObject({ code: "usage" });
    await expect(readLocalClosure(["result"], { storeRoot })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(readLocalClosure([`${A}/bin/x`], { storeRoot })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(readLocalClosure([A, path("b", "/opt/store")], { storeRoot })).rejects.toThrow(
      "mixes store directories",
    );
  });
});
