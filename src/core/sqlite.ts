import Database from "better-sqlite3";

export type SqliteDatabase = Database.Database;

/** Opens an existing database read-only, waiting up to `timeoutMs` for a writer's lock. Errors are better-sqlite3's own. */
export function openSqliteReadOnly(file: string, timeoutMs = 5000): SqliteDatabase {
  return new Database(file, { readonly: true, fileMustExist: true, timeout: timeoutMs });
}

/** Opens a database that nobody else has open, so that what an interrupted writer left in its log or journal is applied first. */
export function openSqlitePrivate(file: string): SqliteDatabase {
  return new Database(file, { fileMustExist: true });
}

/** The name of SQLite's result code (`SQLITE_CANTOPEN`, or an extended one) of a failed call, or undefined for any other value. */
export function sqliteCodeOf(error: unknown): string | undefined {
  return error instanceof Database.SqliteError ? error.code : undefined;
}
