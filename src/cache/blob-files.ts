import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../core/errors.js";

/** A packed layer in the cache. */
export interface BlobFile {
  readonly path: string;
  readonly size: number;
  readonly usedMs: number;
}

/** Where the blobs are in a cache directory. */
export function blobsDirectory(directory: string): string {
  return join(directory, "blobs", "sha256");
}

/** The blobs of a cache directory, least recently used first. Errors are the system's; a missing directory holds none. */
export function listBlobFiles(directory: string): readonly BlobFile[] {
  return list(directory, /^[0-9a-f]{64}$/).sort((a, b) => a.usedMs - b.usedMs || (a.path < b.path ? -1 : 1));
}

/** Removes blobs, least recently used first, until the others have at most `bytes`. @param kept is not removed */
export function evictBlobFiles(directory: string, bytes: number, kept?: string): readonly BlobFile[] {
  const files = listBlobFiles(directory);
  let total = files.reduce((sum, { size }) => sum + size, 0);
  return files.filter(({ path, size }) => {
    if (total <= bytes || path === kept) return false;
    rmSync(path, { force: true });
    total -= size;
    return true;
  });
}

function list(directory: string, names: RegExp): BlobFile[] {
  const blobs = blobsDirectory(directory);
  return namesIn(blobs)
    .filter((name) => names.test(name))
    .flatMap((name) => {
      const path = join(blobs, name);
      const stats = statSync(path, { throwIfNoEntry: false });
      return stats?.isFile() ? [{ path, size: stats.size, usedMs: stats.mtimeMs }] : [];
    });
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
