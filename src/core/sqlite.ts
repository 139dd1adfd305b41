import { statSync } from "node:fs";
import { createRequire } from "node:module";
import type Database from "better-sqlite3";
import { OciNixError } from "./errors.js";
import { loadNative } from "./native-module.js";

export type SqliteDatabase = Database.Database;

/** A prepared statement, to which values are bound by place. */
export type SqliteStatement = Database.Statement<unknown[], unknown>;

const require = createRequire(import.meta.url);

let loaded: typeof Database | undefined;

/** Loaded when first needed: a closure file needs no database. */
function sqlite(): typeof Database {
  loaded ??= loadNative("better-sqlite3", () => {
    const found = require("better-sqlite3") as typeof Database;
    // Its compiled part is loaded by the first database.
    new found(":memory:").close();
    return found;
  });
  return loaded;
}

/** Bytes of a log or journal; more than any transaction of Nix or of ours writes. */
const MAX_LOG = 2 ** 34;

/** For files that others made: SQLite would wait for a FIFO, where no signal is served. @throws OciNixError `unreadable`, `limit` */
export function checkParts(file: string): void {
  for (const part of ["", "-wal", "-journal"]) {
    const stats = statSync(file + part, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (!stats.isFile()) throw new OciNixError("unreadable", `cannot read ${file}${part}: it is no regular file`);
    if (part !== "" && stats.size > MAX_LOG) {
      throw new OciNixError("limit", `${file}${part} is ${stats.size} bytes long, and is not read`);
    }
  }
}

/** Opens an existing database read-only, waiting up to `timeoutMs` for a writer's lock. Errors are better-sqlite3's own. */
export function openSqliteReadOnly(file: string, timeoutMs = 5000): SqliteDatabase {
  return new (sqlite())(file, { readonly: true, fileMustExist: true, timeout: timeoutMs });
}

/** Opens a database that nobody else has open, so that what an interrupted writer left in its log or journal is applied first. */
export function openSqlitePrivate(file: string): SqliteDatabase {
  return new (sqlite())(file, { fileMustExist: true });
}

/** Opens a database to read and write beside other processes, making an empty one where there is no file; read-only where it may not be written. */
export function openSqliteShared(file: string, timeoutMs: number): SqliteDatabase {
  checkParts(file);
  return new (sqlite())(file, { timeout: timeoutMs });
}

/** A new, empty database that lives in memory: its `serialize()` gives what its file would hold. */
export function createSqliteInMemory(): SqliteDatabase {
  return new (sqlite())(":memory:");
}

/** The name of SQLite's result code (`SQLITE_CANTOPEN`, or an extended one) of a failed call, or undefined for any other value. */
export function sqliteCodeOf(error: unknown): string | undefined {
  return loaded !== undefined && error instanceof loaded.SqliteError ? error.code : undefined;
}
