import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { sqliteCodeOf } from "../core/sqlite.js";
import { removeLeftovers } from "../core/temporary.js";
import { blobsDirectory, evictBlobFiles, listBlobFiles } from "./blob-files.js";
import { DIGESTS_FILE, DigestDatabase, fileIdentity, isDamage, setAside, UNUSABLE } from "./digest-database.js";

/** Whoever asks for maintenance waits longer than a build does. */
const LOCK_TIMEOUT_MS = 5000;

/** What the cache holds. */
export interface CacheInfo {
  readonly directory: string;
  readonly digests: {
    /** Bytes of the file; 0 where there is none. */
    readonly size: number;
    /** How many layers' digests are known. */
    readonly layers: number;
    /** How many packed layers' digests are known. */
    readonly blobs: number;
    /** Why the file will be made anew. */
    readonly unusable?: string;
  };
  /** The packed layers that are kept. */
  readonly blobs: { readonly count: number; readonly size: number };
}

/** What a cache directory holds; changes nothing. @throws OciNixError `unreadable` */
export function cacheInfo(directory: string): CacheInfo {
  const file = join(directory, DIGESTS_FILE);
  return named(directory, () => {
    const files = listBlobFiles(directory);
    const blobs = { count: files.length, size: sumOf(files) };
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) return { directory, digests: { size: 0, layers: 0, blobs: 0 }, blobs };
    try {
      const counts = withDatabase(file, (database) => ({
        layers: database.layers().length,
        blobs: database.blobs().length,
      }));
      return { directory, digests: { size, ...counts }, blobs };
    } catch (error) {
      if (!isDamage(error)) throw error;
      return { directory, digests: { size, layers: 0, blobs: 0, unusable: (error as Error).message }, blobs };
    }
  });
}

/** What is removed from the cache. */
export interface PruneOptions {
  /** Removes what was not used for so many days. */
  readonly olderThanDays?: number | undefined;
  /** Removes what was least recently used until all files together have at most so many bytes, packed layers first. */
  readonly maxBytes?: number | undefined;
  /** Removes everything. */
  readonly all?: boolean | undefined;
}

/** What was removed from the cache. */
export interface PruneSummary {
  /** How many digests were forgotten. */
  readonly digests: number;
  /** How many packed layers were removed, and their bytes. */
  readonly blobs: number;
  readonly blobBytes: number;
}

/** Removes what is not wanted any more, and what was set aside or left behind. @throws OciNixError `output` */
export function pruneCache(directory: string, options: PruneOptions): PruneSummary {
  return named(directory, () => {
    removeLeftovers(blobsDirectory(directory));
    const file = join(directory, DIGESTS_FILE);
    const removed = [];
    if (options.all === true) removed.push(...evictBlobFiles(directory, -1));
    if (options.olderThanDays !== undefined) removed.push(...evictOlder(directory, options.olderThanDays));
    const digests = existsSync(file) ? pruneDigests(file, options) : 0;
    // Only now, as an unusable file is set aside when it is opened.
    rmSync(file + UNUSABLE, { force: true });
    if (options.maxBytes !== undefined) {
      const other = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      removed.push(...evictBlobFiles(directory, Math.max(0, options.maxBytes - other)));
    }
    return { digests, blobs: removed.length, blobBytes: sumOf(removed) };
  });
}

function evictOlder(directory: string, days: number) {
  const before = Date.now() - days * 86_400_000;
  const old = listBlobFiles(directory).filter(({ usedMs }) => usedMs < before);
  for (const { path } of old) rmSync(path, { force: true });
  return old;
}

function pruneDigests(file: string, { olderThanDays, maxBytes, all }: PruneOptions): number {
  return withUsableDatabase(file, (database) => {
    database.checkIntegrity();
    let digests = 0;
    if (all === true) digests += database.deletePart(1);
    if (olderThanDays !== undefined) digests += database.deleteUnused(olderThanDays);
    database.shrink();
    // An empty database has a size, too.
    for (let size = statSync(file).size; maxBytes !== undefined && size > maxBytes; size = statSync(file).size) {
      const deleted = database.deletePart(1 - maxBytes / size);
      if (deleted === 0) break;
      digests += deleted;
      database.shrink();
    }
    return digests;
  });
}

/** Runs something with the digests. @throws what `run` throws; SQLite's and the system's errors; UnusableDatabase */
export function withDatabase<T>(file: string, run: (database: DigestDatabase) => T): T {
  const database = new DigestDatabase(file, LOCK_TIMEOUT_MS);
  try {
    return run(database);
  } finally {
    database.close();
  }
}

/** The same, with an empty file in place of an unusable one. */
export function withUsableDatabase<T>(file: string, run: (database: DigestDatabase) => T): T {
  const identity = fileIdentity(file);
  try {
    return withDatabase(file, run);
  } catch (error) {
    if (!isDamage(error) || identity === undefined) throw error;
    setAside(file, identity);
    return withDatabase(file, run);
  }
}

/** Runs something on a cache directory. @throws OciNixError in place of SQLite's and the system's errors */
export function named<T>(directory: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    const code = sqliteCodeOf(error) ?? "";
    const text = describeErrno(error);
    if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
      throw new OciNixError("unreadable", `the cache ${directory} is in use: ${text}`, {
        hint: "try again",
        cause: error,
      });
    }
    if (/^SQLITE_(READONLY|FULL)/.test(code) || /^(EACCES|EPERM|EROFS|ENOSPC|EDQUOT)$/.test(errnoOf(error) ?? "")) {
      throw new OciNixError("output", `cannot write to the cache ${directory}: ${text}`, { cause: error });
    }
    if (!isDamage(error) && errnoOf(error) === undefined) throw error;
    throw new OciNixError("unreadable", `cannot use the cache ${directory}: ${text}`, {
      ...(isDamage(error) ? { hint: "oci-nix cache prune --all empties it" } : {}),
      cause: error,
    });
  }
}

function sumOf(files: readonly { readonly size: number }[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
