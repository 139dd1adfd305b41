import Database from "better-sqlite3";

export type SqliteDatabase = Database.Database;

/** Opens an existing database read-only, waiting up to `timeoutMs` for a writer's lock. Errors are better-sqlite3's own. */
export function openSqliteReadOnly(file: string, timeoutMs = 5000): SqliteDatabase {
  return new Database(file, { readonly: true, fileMustExist: true, timeout: timeoutMs });
}
