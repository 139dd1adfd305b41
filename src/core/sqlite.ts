import { createRequire } from "node:module";
import type Database from "better-sqlite3";
import { errnoOf, OciNixError } from "./errors.js";

export type SqliteDatabase = Database.Database;

/** A prepared statement, to which values are bound by place. */
export type SqliteStatement = Database.Statement<unknown[], unknown>;

const require = createRequire(import.meta.url);

let loaded: typeof Database | undefined;

/** Loaded when first needed: a closure file needs no database. */
function sqlite(): typeof Database {
  loaded ??= require("better-sqlite3") as typeof Database;
  return loaded;
}

/** Opens a database. @throws OciNixError `unsupported` where the library is not built for this Node.js; else better-sqlite3's own errors */
function open(...args: ConstructorParameters<typeof Database>): SqliteDatabase {
  try {
    return new (sqlite())(...args);
  } catch (error) {
    const isMissing = error instanceof Error && "tries" in error;
    if (!isMissing && errnoOf(error) !== "ERR_DLOPEN_FAILED") throw error;
    const what = isMissing ? "it is not built" : "it is built for another version or another machine";
    throw new OciNixError(
      "unsupported",
      `better-sqlite3 cannot be loaded by Node.js ${process.versions.node}: ${what}`,
      {
        hint: "npm rebuild better-sqlite3, with this Node.js and where oci-nix is installed; or run oci-nix with the Node.js that installed it",
        cause: error,
      },
    );
  }
}

/** Opens an existing database read-only, waiting up to `timeoutMs` for a writer's lock. Errors are better-sqlite3's own. */
export function openSqliteReadOnly(file: string, timeoutMs = 5000): SqliteDatabase {
  return open(file, { readonly: true, fileMustExist: true, timeout: timeoutMs });
}

/** Opens a database that nobody else has open, so that what an interrupted writer left in its log or journal is applied first. */
export function openSqlitePrivate(file: string): SqliteDatabase {
  return open(file, { fileMustExist: true });
}

/** Opens a database to read and write beside other processes, making an empty one where there is no file; read-only where it may not be written. */
export function openSqliteShared(file: string, timeoutMs: number): SqliteDatabase {
  return open(file, { timeout: timeoutMs });
}

/** A new, empty database that lives in memory: its `serialize()` gives what its file would hold. */
export function createSqliteInMemory(): SqliteDatabase {
  return open(":memory:");
}

/** The name of SQLite's result code (`SQLITE_CANTOPEN`, or an extended one) of a failed call, or undefined for any other value. */
export function sqliteCodeOf(error: unknown): string | undefined {
  return loaded !== undefined && error instanceof loaded.SqliteError ? error.code : undefined;
}
