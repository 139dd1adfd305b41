import { createRequire } from "node:module";
import type Database from "better-sqlite3";

export type SqliteDatabase = Database.Database;

const require = createRequire(import.meta.url);

/** Loaded when first needed: a closure file needs no database. */
function sqlite(): typeof Database {
  return require("better-sqlite3") as typeof Database;
}

/** Opens an existing database read-only, waiting up to `timeoutMs` for a writer's lock. Errors are better-sqlite3's own. */
export function openSqliteReadOnly(file: string, timeoutMs = 5000): SqliteDatabase {
  return new (sqlite())(file, { readonly: true, fileMustExist: true, timeout: timeoutMs });
}

/** Opens a database that nobody else has open, so that what an interrupted writer left in its log or journal is applied first. */
export function openSqlitePrivate(file: string): SqliteDatabase {
  return new (sqlite())(file, { fileMustExist: true });
}

/** A new, empty database that lives in memory: its `serialize()` gives what its file would hold. */
export function createSqliteInMemory(): SqliteDatabase {
  return new (sqlite())(":memory:");
}

/** The name of SQLite's result code (`SQLITE_CANTOPEN`, or an extended one) of a failed call, or undefined for any other value. */
export function sqliteCodeOf(error: unknown): string | undefined {
  return error instanceof sqlite().SqliteError ? error.code : undefined;
}
