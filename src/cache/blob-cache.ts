import { rmSync, statSync, utimesSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ByteSink } from "../core/byte-sink.js";
import { type Digest, hexOf } from "../core/digest.js";
import { errnoOf, OciNixError } from "../core/errors.js";
import { createFile, makeDirectories, type NewFile } from "../core/output-file.js";
import { removeLeftovers } from "../core/temporary.js";
import { blobsDirectory, evictBlobFiles } from "./blob-files.js";

/** What names a blob: OCI descriptors are such. */
export interface CachedBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** Takes the bytes of a blob to keep; never fails, but it may keep nothing. */
export interface CachedBlobSink extends ByteSink {
  /** Keeps what was written under its name, where it was all written; the caller vouches for the digest. */
  commit(blob: CachedBlob): Promise<void>;
  /** Forgets what was written, unless it is committed. */
  discard(): Promise<void>;
}

/**
 * Packed layers on disk, the least recently used removed first. Several processes may use it at once. Never fails: what cannot be kept is
 * not kept. Files may be damaged: whoever reads one verifies its bytes.
 */
export interface BlobCache {
  /** The file that holds the blob, if its size is right; counts as a use. The file may be removed at any time by another process. */
  find(blob: CachedBlob): string | undefined;
  begin(): Promise<CachedBlobSink>;
  /** Removes a blob whose bytes turned out not to be its own. */
  drop(digest: Digest): void;
}

/** How packed layers are kept. */
export interface BlobCacheOptions {
  /** Told why blobs are not kept, once. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

/** @param budget bytes of all blobs together, at most; a blob larger than that is not kept */
export function openBlobCache(directory: string, budget: number, options: BlobCacheOptions = {}): BlobCache {
  const blobs = blobsDirectory(directory);
  const fileOf = (digest: Digest) => join(blobs, hexOf(digest));
  let isTold = false;
  const attempt = <T>(run: () => T): T | undefined => {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof OciNixError) && errnoOf(error) === undefined) throw error;
      if (!isTold) options.onProblem?.(`the cache ${blobs} keeps no more packed layers: ${(error as Error).message}`);
      isTold = true;
      return undefined;
    }
  };
  removeLeftovers(blobs);
  return {
    find: ({ digest, size }) => attempt(() => findFile(fileOf(digest), size)),
    begin: async () => {
      const file = attempt(() => {
        makeDirectories(blobs, 0o700);
        return createFile(blobs);
      });
      return new FileSink(file, budget, attempt, (written, { digest }) => {
        written.commit(fileOf(digest));
        evictBlobFiles(directory, budget, fileOf(digest));
      });
    },
    drop: (digest) => attempt(() => rmSync(fileOf(digest), { force: true })),
  };
}

function findFile(file: string, size: number): string | undefined {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile() || stats.size !== size) {
    rmSync(file, { force: true });
    return undefined;
  }
  markUsed(file);
  return file;
}

/** Times of files are the clock of what was used last. */
function markUsed(file: string): void {
  const now = new Date();
  try {
    utimesSync(file, now, now);
  } catch {
    // A cache that may only be read.
  }
}

class FileSink implements CachedBlobSink {
  #file: NewFile | undefined;
  readonly #budget: number;
  readonly #attempt: (run: () => void) => void;
  readonly #keep: (file: NewFile, blob: CachedBlob) => void;
  #size = 0;

  /** @param file where the bytes go; undefined where they go nowhere */
  constructor(
    file: NewFile | undefined,
    budget: number,
    attempt: (run: () => void) => void,
    keep: (file: NewFile, blob: CachedBlob) => void,
  ) {
    this.#file = file;
    this.#budget = budget;
    this.#attempt = attempt;
    this.#keep = keep;
  }

  write(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (this.#size > this.#budget) this.#giveUp();
    const file = this.#file;
    if (file === undefined) return;
    let isWritten = false;
    this.#attempt(() => {
      for (let at = 0; at < bytes.length; ) at += writeSync(file.fd, bytes, at);
      isWritten = true;
    });
    if (!isWritten) this.#giveUp();
  }

  async commit(blob: CachedBlob): Promise<void> {
    const file = this.#file;
    if (file !== undefined && blob.size === this.#size) this.#attempt(() => this.#keep(file, blob));
    this.#giveUp();
  }

  async discard(): Promise<void> {
    this.#giveUp();
  }

  /** Frees the space at once, as it may be what the build itself lacks. */
  #giveUp(): void {
    const file = this.#file;
    this.#file = undefined;
    this.#attempt(() => file?.discard());
  }
}
