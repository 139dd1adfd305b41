import { chmodSync, closeSync, constants, copyFileSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import {
  checkParts,
  openSqlitePrivate,
  openSqliteReadOnly,
  type SqliteDatabase,
  sqliteCodeOf,
} from "../core/sqlite.js";
import { makeTemporaryDirectory } from "../core/temporary.js";

// All access to a database's files is synchronous. Closing a file drops all locks that this process has on it, also those of SQLite
// (POSIX advisory locks), so no file may be closed between the beginning and the end of a query.

/** The files that make up a database: itself, its write-ahead log, its rollback journal. */
const PARTS = ["", "-wal", "-journal"] as const;

const COPY_ATTEMPTS = 6;

/** Times of files come from a clock of a few milliseconds: a file changed this recently may change again without a new time. */
const CLOCK_STEP_MS = 20;

/**
 * Runs a query on one consistent state of an SQLite database, also while others write to it, without creating, changing or deleting a
 * file beside it. Works without write permission and on read-only file systems; then a private copy may be read, deleted afterwards.
 *
 * @throws OciNixError `not-found` and `unreadable` for the file, `invalid-input` where it is no intact SQLite database, `changed` where it
 *   has to be copied and changes all the time; what `query` throws otherwise
 */
export async function queryDatabaseFile<T>(file: string, query: (database: SqliteDatabase) => T): Promise<T> {
  try {
    checkParts(file);
    if (canOpenInPlace(file)) {
      try {
        return runAndClose(openSqliteReadOnly(file), query);
      } catch (error) {
        if (!IN_PLACE_FAILURES.test(sqliteCodeOf(error) ?? "")) throw error;
      }
    }
    return await queryCopy(file, query);
  } catch (error) {
    throw describeFailure(error, file);
  }
}

// No permission to lock or to make the log's index, a journal to roll back, a file system without locks or shared memory.
const IN_PLACE_FAILURES = /^SQLITE_(CANTOPEN|READONLY|IOERR|PROTOCOL|PERM)/;

/**
 * Whether SQLite can read the database without creating files. With a write-ahead log even a reader makes the log (`-wal`) and its index
 * (`-shm`) where they are missing, and leaves them there.
 */
function canOpenInPlace(file: string): boolean {
  // Asked first, so that a database which somebody has open is not opened and closed here besides (see the locks above).
  if (fingerprint(`${file}-wal`) !== undefined && fingerprint(`${file}-shm`) !== undefined) return true;
  const header = Buffer.alloc(20);
  const descriptor = openSync(file, "r");
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return header[18] !== 2 && header[19] !== 2; // SQLite's file format, "File format version numbers": 2 with a log
}

function runAndClose<T>(database: SqliteDatabase, query: (database: SqliteDatabase) => T): T {
  try {
    return database.transaction(() => query(database)).deferred();
  } finally {
    database.close();
  }
}

async function queryCopy<T>(file: string, query: (database: SqliteDatabase) => T): Promise<T> {
  const directory = makeTemporaryDirectory();
  try {
    const copy = join(directory.path, "db.sqlite");
    await copyConsistently(file, copy);
    return readCopy(file, copy, query);
  } finally {
    directory.remove();
  }
}

function readCopy<T>(file: string, copy: string, query: (database: SqliteDatabase) => T): T {
  try {
    return runAndClose(openSqlitePrivate(copy), query);
  } catch (error) {
    // Of what was written just now: it is the place, not the database.
    if (!/^SQLITE_(CANTOPEN|IOERR|FULL)/.test(sqliteCodeOf(error) ?? "")) throw error;
    const message = `${file} was copied to ${tmpdir()}, where it cannot be read: ${(error as Error).message}`;
    throw new OciNixError("output", `${message} (${sqliteCodeOf(error)})`, {
      hint: "set TMPDIR to a directory with more space, on a disk that works",
      cause: error,
    });
  }
}

/** Copies all parts as they are at one moment. The log's index is not copied: SQLite makes it from the log. */
async function copyConsistently(file: string, copy: string): Promise<void> {
  for (let attempt = 1; attempt <= COPY_ATTEMPTS; attempt++) {
    const startedMs = Date.now();
    const before = PARTS.map((part) => fingerprint(file + part));
    if (before.every((part) => part === undefined || Math.abs(startedMs - part.mtimeMs) > CLOCK_STEP_MS)) {
      copyParts(file, copy);
      if (before.every((part, n) => part?.identity === fingerprint(file + PARTS[n])?.identity)) return;
    }
    await sleep(CLOCK_STEP_MS * 2 ** attempt);
  }
  throw new OciNixError("changed", `${file} changed each time it was copied`, {
    hint: "it cannot be read in place, so wait until Nix has finished, or give the closure with --closure FILE",
  });
}

function copyParts(file: string, copy: string): void {
  for (const part of PARTS) {
    rmSync(copy + part, { force: true });
    try {
      copyFileSync(file + part, copy + part, constants.COPYFILE_FICLONE);
    } catch (error) {
      if (errnoOf(error) === "ENOENT" && part !== "") continue;
      throw error;
    }
    chmodSync(copy + part, 0o600);
  }
}

interface Fingerprint {
  readonly mtimeMs: number;
  /** Differs after every change that the file's size, time and inode tell. */
  readonly identity: string;
}

/** Undefined where there is no such file. */
function fingerprint(file: string): Fingerprint | undefined {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  return { mtimeMs: Number(stats.mtimeMs), identity: `${stats.ino} ${stats.size} ${stats.mtimeNs}` };
}

function describeFailure(error: unknown, file: string): unknown {
  if (error instanceof OciNixError) return error;
  const code = sqliteCodeOf(error);
  if (code !== undefined) {
    const message = (error as Error).message;
    if (/^SQLITE_(NOTADB|CORRUPT)/.test(code)) {
      return new OciNixError("invalid-input", `${file} is not an intact SQLite database: ${message}`, { cause: error });
    }
    const hint = /^SQLITE_(BUSY|LOCKED)/.test(code) ? { hint: "another program is writing to it: try again" } : {};
    return new OciNixError("unreadable", `cannot read ${file}: ${message} (${code})`, { ...hint, cause: error });
  }
  const errno = errnoOf(error);
  if (errno === "ENOSPC" || errno === "EDQUOT") {
    return new OciNixError("output", `cannot copy ${file} to ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory with more space",
      cause: error,
    });
  }
  if (errno === undefined) return error;
  return new OciNixError(
    errno === "ENOENT" ? "not-found" : "unreadable",
    `cannot read ${file}: ${describeErrno(error)}`,
    {
      cause: error,
    },
  );
}
