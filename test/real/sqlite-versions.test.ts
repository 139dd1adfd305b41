import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSqlitePrivate } from "../../src/core/sqlite.js";
import { canonicaliseSqliteFile } from "../../src/core/sqlite-file.js";
import { formatNixDatabase } from "../../src/nix/database-writer.js";
import { expectOk, runCommand } from "../support/command.js";
import { requireTools } from "../support/tools.js";

/** Writes a Nix database as we do, with the SQLite that Python comes with. */
const SERIALIZE = `
import json, sqlite3, sys
given = json.load(sys.stdin)
database = sqlite3.connect(":memory:", isolation_level=None)
for setting in given["settings"]: database.execute("pragma " + setting)
database.executescript(given["schema"])
database.execute("begin")
for path in given["paths"]:
    database.execute("insert into ValidPaths (id, path, hash, registrationTime, narSize) values (?, ?, ?, 0, ?)", path)
for pair in given["references"]: database.execute("insert into Refs values (?, ?)", pair)
database.execute("commit")
sys.stdout.buffer.write(database.serialize())
`;

const python = requireTools("python3") === undefined ? "python3" : undefined;
const pythonSqlite =
  python &&
  execFileSync(python, [
    "-c",
    "import sqlite3, sys; print(sqlite3.sqlite_version if sys.version_info >= (3, 11) else '')",
  ])
    .toString()
    .trim();

describe.skipIf(!pythonSqlite)("another version of SQLite (skipped where Python is older than 3.11)", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-other-sqlite-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it.each([1, 20, 400, 3000])("gives the same bytes for %d paths", async (count) => {
    // Numbers that look random and are always the same.
    let state = 1;
    const random = (below: number) => {
      state = (state * 48271) % 2147483647;
      return state % below;
    };
    const names = Array.from(
      { length: count },
      (_, n) => `/nix/store/${String(random(10 ** 9)).padStart(32, "0")}-${"x".repeat(1 + random(100))}${n}`,
    );
    const objects = names.map((path, n) => ({
      path: path as never,
      narHash: `sha256:${String(n).padStart(52, "0")}`,
      narSize: random(2 ** 31),
      references: Array.from({ length: random(12) }, () => names[random(count)] as never),
    }));
    const ours = formatNixDatabase(objects);
    const file = join(directory, `${count}.sqlite`);
    writeFileSync(file, ours);
    const opened = openSqlitePrivate(file);
    const rows = (sql: string) => opened.prepare(sql).raw().all();
    const given = {
      settings: ["page_size = 4096", "auto_vacuum = none", "secure_delete = on"],
      schema: rows(
        "select sql || ';' from sqlite_master where sql is not null and name != 'sqlite_sequence' order by rowid",
      ).join("\n"),
      paths: rows("select id, path, hash, narSize from ValidPaths order by id"),
      references: rows("select referrer, reference from Refs order by referrer, reference"),
    };
    const version = opened.prepare("select sqlite_version()").pluck().get();
    opened.close();
    expect(pythonSqlite).not.toBe(version);
    const made = await runCommand(python as string, ["-c", SERIALIZE], { stdin: JSON.stringify(given) });
    const theirs = expectOk(made, "python3").stdout;
    canonicaliseSqliteFile(theirs, "write-ahead-log");
    expect(theirs.length).toBe(ours.length);
    expect(Buffer.compare(theirs, ours)).toBe(0);
  });
});
