import { createRequire } from "node:module";
import type Database from "better-sqlite3";
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
