import { join } from "node:path";
import type { Digest } from "../core/digest.js";
import { errnoOf, OciNixError } from "../core/errors.js";
import { sqliteCodeOf } from "../core/sqlite.js";
import { DIGESTS_FILE, DigestDatabase, fileIdentity, isDamage, setAside, UnusableDatabase } from "./digest-database.js";

/** What is known of a layer that was made before. */
export interface RememberedLayer {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

/** What is known of a layer's packed bytes. */
export interface RememberedBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** Digests of layers that were made before. Never fails: what cannot be read is not known, what cannot be written is not remembered. */
export interface DigestCache {
  /** @param key digest of everything that decides the layer's bytes */
  layer(key: Digest): RememberedLayer | undefined;
  /** @param title for people: what the layer holds */
  rememberLayer(key: Digest, layer: RememberedLayer, title: string): void;
  forgetLayer(key: Digest): void;
  /** @param codec as `codecOf` names it */
  blob(diffId: Digest, codec: string): RememberedBlob | undefined;
  rememberBlob(diffId: Digest, codec: string, blob: RememberedBlob): void;
  forgetBlob(diffId: Digest, codec: string): void;
  /** Repositories of a registry in which a blob was; it may be gone. */
  repositoriesOf(host: string, digest: Digest): readonly string[];
  rememberRepository(host: string, digest: Digest, repository: string): void;
  close(): void;
}

/** Knows nothing and remembers nothing. */
export const noCache: DigestCache = {
  layer: () => undefined,
  rememberLayer: () => undefined,
  forgetLayer: () => undefined,
  blob: () => undefined,
  rememberBlob: () => undefined,
  forgetBlob: () => undefined,
  repositoriesOf: () => [],
  rememberRepository: () => undefined,
  close: () => undefined,
};

/** How long the lock of another process is waited for; once that was too short, none is waited for any more. */
const LOCK_TIMEOUT_MS = 500;

/** How often a database is opened again because it was found damaged or was replaced by another process. */
const MAX_REOPENINGS = 3;

/** How digests are remembered. */
export interface DigestCacheOptions {
  /** Told why something is not known or not remembered; each kind of problem once. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

/**
 * Opens the digests of a cache directory, which is made where it is missing; several processes may have it open. A file that is damaged,
 * another program's or another version's is replaced by an empty one.
 */
export function openDigestCache(directory: string, options: DigestCacheOptions = {}): DigestCache {
  const cache = new SharedDigestCache(join(directory, DIGESTS_FILE), options.onProblem);
  return {
    layer: (key) => {
      const entry = cache.attempt("read", (database) => database.layer(key));
      return entry && { diffId: entry.diffId, size: entry.size };
    },
    rememberLayer: (key, { diffId, size }, title) =>
      cache.attempt("write", (database) => database.putLayer({ key, diffId, size, title })),
    forgetLayer: (key) => cache.attempt("write", (database) => database.deleteLayer(key)),
    blob: (diffId, codec) => {
      const entry = cache.attempt("read", (database) => database.blob(diffId, codec));
      return entry && { digest: entry.digest, size: entry.size };
    },
    rememberBlob: (diffId, codec, { digest, size }) =>
      cache.attempt("write", (database) => database.putBlob({ diffId, codec, digest, size })),
    forgetBlob: (diffId, codec) => cache.attempt("write", (database) => database.deleteBlob(diffId, codec)),
    repositoriesOf: (host, digest) => cache.attempt("read", (database) => database.repositoriesOf(host, digest)) ?? [],
    rememberRepository: (host, digest, repository) =>
      cache.attempt("write", (database) => database.putRepository(host, digest, repository)),
    close: () => cache.close(),
  };
}

class SharedDigestCache {
  readonly #file: string;
  readonly #onProblem: ((message: string) => void) | undefined;
  readonly #told = new Set<string>();
  #database: DigestDatabase | undefined;
  #isWritable = true;
  #reopenings = 0;

  constructor(file: string, onProblem: ((message: string) => void) | undefined) {
    this.#file = file;
    this.#onProblem = onProblem;
    this.#open();
  }

  /** Undefined where it cannot be done. */
  attempt<T>(access: "read" | "write", run: (database: DigestDatabase) => T): T | undefined {
    for (;;) {
      if (this.#database === undefined || (access === "write" && !this.#isWritable)) return undefined;
      try {
        return run(this.#database);
      } catch (error) {
        if (!this.#recover(error, access)) return undefined;
      }
    }
  }

  close(): void {
    this.attempt("write", (database) => database.writeFindings());
    this.#drop();
  }

  #open(): void {
    for (;;) {
      let identity: string | undefined;
      try {
        identity = fileIdentity(this.#file);
        this.#database = new DigestDatabase(this.#file, LOCK_TIMEOUT_MS);
        return;
      } catch (error) {
        this.#checkKnown(error);
        if (!isDamage(error) || !this.#mayReopen()) {
          this.#tell("is not used", error);
          return;
        }
        if (!this.#replace(identity, error)) return;
      }
    }
  }

  /** Whether what failed can be done again. */
  #recover(error: unknown, access: "read" | "write"): boolean {
    this.#checkKnown(error);
    const code = sqliteCodeOf(error) ?? "";
    if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
      this.#database?.stopWaiting();
      this.#tell(access === "read" ? "is not read" : "is not written to", error);
      return false;
    }
    if (isDamage(error) || code === "SQLITE_READONLY_DBMOVED") {
      const identity = this.#database?.identity;
      this.#drop();
      if (!this.#mayReopen()) this.#tell("is not used", error);
      else if (!isDamage(error) || this.#replace(identity, error)) this.#open();
      return this.#database !== undefined;
    }
    if (access === "write") {
      this.#isWritable = false;
      this.#tell("is not written to", error);
    } else {
      this.#drop();
      this.#tell("is not used", error);
    }
    return false;
  }

  #replace(identity: string | undefined, damage: unknown): boolean {
    try {
      if (identity !== undefined) setAside(this.#file, identity);
      this.#tell("is made anew", damage);
      return true;
    } catch (error) {
      this.#checkKnown(error);
      this.#tell("is not used", damage);
      return false;
    }
  }

  #mayReopen(): boolean {
    return this.#reopenings++ < MAX_REOPENINGS;
  }

  #drop(): void {
    try {
      this.#database?.close();
    } catch (error) {
      this.#checkKnown(error);
    }
    this.#database = undefined;
  }

  /** Defects of ours are not the file's. @throws `error` where it has no code, as SQLite's and the system's have */
  #checkKnown(error: unknown): void {
    const isKnown = error instanceof OciNixError || error instanceof UnusableDatabase || errnoOf(error) !== undefined;
    if (!isKnown) throw error;
  }

  #tell(what: string, error: unknown): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#onProblem?.(`the cache ${this.#file} ${what}: ${(error as Error).message}`);
  }
}
