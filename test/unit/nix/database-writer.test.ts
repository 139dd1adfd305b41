import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSqlitePrivate, type SqliteDatabase } from "../../../src/core/sqlite.js";
import type { StoreObject } from "../../../src/nix/closure.js";
import { formatNixDatabase } from "../../../src/nix/database-writer.js";
import type { StorePath } from "../../../src/nix/store-path.js";
import { object, path } from "./fixtures.js";

const NAR_HASH = `sha256:${"0".repeat(51)}1`;
const HEX = `sha256:01${"0".repeat(62)}`;

const valid = (name: string, references: readonly string[] = [], more: Partial<StoreObject> = {}) =>
  object(name, references, { narHash: NAR_HASH, narSize: 5, ...more });

function query<T>(bytes: Uint8Array, run: (database: SqliteDatabase) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "database-writer-"));
  const file = join(directory, "db.sqlite");
  writeFileSync(file, bytes);
  const database = openSqlitePrivate(file);
  try {
    return run(database);
  } finally {
    database.close();
    rmSync(directory, { recursive: true });
  }
}

describe("formatNixDatabase", () => {
  const app = valid("app", ["app", "lib"]);
  const lib = valid("lib", [], { narSize: 2 ** 40, deriver: path("lib.drv"), ca: "text:sha256:x" });
  const bytes = formatNixDatabase([lib, app]);

  it("writes the rows that Nix writes, and leaves open what differs between machines", () => {
    query(bytes, (database) => {
      const common = { hash: HEX, registrationTime: 0, deriver: null, ultimate: null, sigs: null, ca: null };
      expect(database.prepare("select * from ValidPaths").all()).toEqual([
        { ...common, id: 1, path: path("app"), narSize: 5 },
        { ...common, id: 2, path: path("lib"), narSize: 2 ** 40 },
      ]);
      expect(database.prepare("select distinct typeof(id), typeof(narSize) from ValidPaths").raw().all()).toEqual([
        ["integer", "integer"],
      ]);
      expect(database.prepare("select referrer, reference from Refs").raw().all()).toEqual([
        [1, 1],
        [1, 2],
      ]);
      expect(database.prepare("select * from sqlite_sequence").all()).toEqual([{ name: "ValidPaths", seq: 2 }]);
      expect(database.prepare("select * from DerivationOutputs").all()).toEqual([]);
      expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
      expect(database.pragma("foreign_key_check")).toEqual([]);
    });
  });

  it("gives the same bytes for the same objects, whatever their order and repetitions", () => {
    expect(Buffer.compare(formatNixDatabase([app, lib]), bytes)).toBe(0);
    expect(
      Buffer.compare(formatNixDatabase([lib, app, lib, { ...app, references: [...app.references].reverse() }]), bytes),
    ).toBe(0);
    expect(Buffer.compare(formatNixDatabase([{ ...lib, deriver: path("other.drv") }, app]), bytes)).toBe(0);
    expect(Buffer.compare(formatNixDatabase([lib, { ...app, narSize: 6 }]), bytes)).not.toBe(0);
  });

  it("is in WAL mode, so that nobody has to turn it on while others are there, and bears no version's stamp", () => {
    const header = Buffer.from(bytes.subarray(0, 100));
    expect(header.toString("latin1", 0, 16)).toBe("SQLite format 3\0");
    expect(header.readUInt16BE(16)).toBe(4096);
    expect([header[18], header[19]]).toEqual([2, 2]);
    // Change counter, schema cookie, text encoding, version-valid-for, SQLite's version.
    expect([24, 40, 56, 92, 96].map((at) => header.readUInt32BE(at))).toEqual([0, 7, 1, 0, 0]);
    expect(header.readUInt32BE(28)).toBe(bytes.length / 4096);
    query(bytes, (database) => expect(database.pragma("journal_mode", { simple: true })).toBe("wal"));
  });

  it("lists the outputs of derivations", () => {
    const derivation = valid("app.drv");
    const outputs = [
      { name: "dev", path: path("dev") },
      { name: "out", path: path("app") },
    ];
    const written = formatNixDatabase([derivation, lib], new Map([[derivation.path, outputs]]));
    query(written, (database) =>
      expect(database.prepare("select * from DerivationOutputs").raw().all()).toEqual([
        [1, "dev", path("dev")],
        [1, "out", path("app")],
      ]),
    );
  });

  it.each([
    ["hash", { narHash: undefined }],
    ["size", { narSize: undefined }],
  ])("refuses a path without NAR %s, and says where there is one", (what, unknown) => {
    expect(() => formatNixDatabase([lib, { ...app, ...unknown }])).toThrowError(
      expect.objectContaining({
        code: "invalid-input",
        message: `the NAR ${what} of ${path("app")} is not known, and a Nix database needs it`,
        hint: expect.stringContaining("nix path-info"),
      }),
    );
  });

  it("refuses references that it does not hold, naming the first few and their number", () => {
    expect(() => formatNixDatabase([app])).toThrowError(
      expect.objectContaining({
        code: "invalid-input",
        message: expect.stringContaining(
          `${path("app")} cannot be in the Nix database: it refers to 1 store path that the database does not hold: ${path("lib")}`,
        ),
      }),
    );
    const many = valid("many", ["b", "c", "d", "e", "f"]);
    expect(() => formatNixDatabase([many])).toThrowError(
      `it refers to 5 store paths that the database does not hold: ${path("b")}, ${path("c")}, ${path("d")} and 2 more`,
    );
  });

  it("is quick for 10,000 paths", () => {
    const name = (n: number) => `/nix/store/${String(n).padStart(32, "0")}-x` as StorePath;
    const objects = Array.from(
      { length: 10_000 },
      (_, n): StoreObject => ({
        path: name(n),
        narHash: NAR_HASH,
        narSize: n,
        references: [0, 1, 2, 3, 10, 50, 500, 5000].filter((back) => back <= n).map((back) => name(n - back)),
      }),
    );
    const before = process.cpuUsage();
    const written = formatNixDatabase(objects);
    expect(process.cpuUsage(before).user).toBeLessThan(3_000_000);
    query(written, (database) =>
      expect(database.prepare("select count(*) from Refs").pluck().get()).toBe(
        objects.reduce((sum, { references }) => sum + references.length, 0),
      ),
    );
  });
});
