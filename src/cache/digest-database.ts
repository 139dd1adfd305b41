import { renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { makeDirectories } from "../core/output-file.js";
import { openSqliteShared, type SqliteDatabase, type SqliteStatement, sqliteCodeOf } from "../core/sqlite.js";
import {
  type BlobEntry,
  blobChecksum,
  blobOf,
  bytesOf,
  type LayerEntry,
  layerChecksum,
  layerOf,
  type Row,
  wellFormed,
} from "./digest-rows.js";

/** Where the digests are in a cache directory. */
export const DIGESTS_FILE = "digests.sqlite";

/** Ends the name of a database that was set aside. */
export const UNUSABLE = ".unusable";

/** A database that this version did not make: damaged, somebody else's, or another version's. */
export class UnusableDatabase extends Error {}

const APPLICATION_ID = 0x6f_63_69_44;
const SCHEMA_VERSION = 1;

/** In the order of the tables' names, as SQLite keeps them: a database with any other schema is not used. */
const SCHEMA = [
  "CREATE TABLE blobs (diff_id BLOB, codec TEXT, digest BLOB, size INTEGER, used INTEGER, checksum BLOB, PRIMARY KEY (diff_id, codec)) WITHOUT ROWID",
  "CREATE TABLE blobs_at (host TEXT, digest BLOB, repository TEXT, used INTEGER, PRIMARY KEY (host, digest, repository)) WITHOUT ROWID",
  "CREATE TABLE layers (key BLOB PRIMARY KEY, diff_id BLOB, size INTEGER, title TEXT, used INTEGER, checksum BLOB) WITHOUT ROWID",
];

const LAYER = "SELECT * FROM layers WHERE key = ?";
const BLOB = "SELECT * FROM blobs WHERE diff_id = ? AND codec = ?";

/**
 * The digests in a cache directory, which any number of processes may have open. Rows that are not as they were written are deleted and
 * not given. Errors are SQLite's, besides {@link UnusableDatabase} and, of
 * the file system, OciNixError.
 */
export class DigestDatabase {
  readonly #database: SqliteDatabase;
  readonly #statements = new Map<string, SqliteStatement>();
  /** What reading found to write: first uses of a day, damaged rows. */
  readonly #later: (() => void)[] = [];
  readonly #today = Math.floor(Date.now() / 86_400_000);
  /** Tells this file from one that replaced it. */
  readonly identity: string | undefined;

  /** Opens the file, or makes it and the directories above it. @param timeoutMs how long to wait for another process's lock */
  constructor(file: string, timeoutMs: number) {
    makeDirectories(dirname(file), 0o700);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() === false) throw new OciNixError("unreadable", `${file} is no regular file`);
    const database = openSqliteShared(file, timeoutMs);
    try {
      this.identity = fileIdentity(file);
      prepareDatabase(database);
    } catch (error) {
      database.close();
      throw isDamage(error) ? new UnusableDatabase((error as Error).message, { cause: error }) : error;
    }
    this.#database = database;
  }

  layer(key: Digest): LayerEntry | undefined {
    const row = this.#run(LAYER).get(bytesOf(key)) as Row | undefined;
    if (row === undefined) return undefined;
    const entry = layerOf(row);
    if (entry === undefined) this.#later.push(() => this.#dropLayer(key));
    else if (row.used !== this.#today) this.#later.push(() => this.#useLayer(key));
    return entry;
  }

  putLayer({ title: text, ...layer }: LayerEntry): void {
    const entry = { ...layer, title: wellFormed(text) };
    const { key, diffId, size, title } = entry;
    const values = [bytesOf(key), bytesOf(diffId), size, title, this.#today, layerChecksum(entry)];
    this.#run("INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?)").run(...values);
  }

  deleteLayer(key: Digest): void {
    this.#run("DELETE FROM layers WHERE key = ?").run(bytesOf(key));
  }

  blob(diffId: Digest, codec: string): BlobEntry | undefined {
    const statement = this.#run(BLOB);
    const row = statement.get(bytesOf(diffId), codec) as Row | undefined;
    if (row === undefined) return undefined;
    const entry = blobOf(row);
    if (entry === undefined) this.#later.push(() => this.#dropBlob(diffId, codec));
    else if (row.used !== this.#today) this.#later.push(() => this.#useBlob(diffId, codec));
    return entry;
  }

  putBlob(entry: BlobEntry): void {
    const { diffId, codec, digest, size } = entry;
    const values = [bytesOf(diffId), codec, bytesOf(digest), size, this.#today, blobChecksum(entry)];
    this.#run("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?)").run(...values);
  }

  deleteBlob(diffId: Digest, codec: string): void {
    this.#run("DELETE FROM blobs WHERE diff_id = ? AND codec = ?").run(bytesOf(diffId), codec);
  }

  /** The repositories of a registry that had a blob, the one last used first. */
  repositoriesOf(host: string, digest: Digest): readonly string[] {
    return this.#run("SELECT repository FROM blobs_at WHERE host = ? AND digest = ? ORDER BY used DESC, repository")
      .all(host, bytesOf(digest))
      .map((row) => String((row as Row).repository));
  }

  putRepository(host: string, digest: Digest, repository: string): void {
    this.#run("INSERT OR REPLACE INTO blobs_at VALUES (?, ?, ?, ?)").run(
      host,
      bytesOf(digest),
      repository,
      this.#today,
    );
  }

  /** All layers, by key. */
  layers(): readonly LayerEntry[] {
    return this.#run("SELECT * FROM layers ORDER BY key")
      .all()
      .flatMap((row) => layerOf(row as Row) ?? []);
  }

  /** All blobs, by diffID and codec. */
  blobs(): readonly BlobEntry[] {
    return this.#run("SELECT * FROM blobs ORDER BY diff_id, codec")
      .all()
      .flatMap((row) => blobOf(row as Row) ?? []);
  }

  /** Runs all of it or, where it throws, nothing. */
  transaction<T>(run: () => T): T {
    return this.#database.transaction(run).immediate();
  }

  /** Runs queries on one state. */
  snapshot<T>(run: () => T): T {
    return this.#database.transaction(run).deferred();
  }

  /** Looks at the whole file. @throws UnusableDatabase where it is damaged */
  checkIntegrity(): void {
    const found = this.#database.pragma("integrity_check(1)", { simple: true });
    if (found !== "ok") throw new UnusableDatabase(String(found));
  }

  /** Deletes what was not used for `days` days. @returns how many rows */
  deleteUnused(days: number): number {
    const before = this.#today - days;
    return this.transaction(
      () =>
        this.#run("DELETE FROM layers WHERE used < ?").run(before).changes +
        this.#run("DELETE FROM blobs_at WHERE used < ?").run(before).changes +
        this.#run("DELETE FROM blobs WHERE used < ?").run(before).changes,
    );
  }

  /** Deletes this part of each table, rounded up, the least recently used rows. @returns how many rows */
  deletePart(part: number): number {
    const count = (table: string) => this.#run(`SELECT count(*) AS count FROM ${table}`).get() as { count: number };
    const rows = (table: string) => Math.ceil(part * count(table).count);
    return this.transaction(
      () =>
        this.#run("DELETE FROM layers WHERE key IN (SELECT key FROM layers ORDER BY used, key LIMIT ?)").run(
          rows("layers"),
        ).changes +
        this.#run(
          "DELETE FROM blobs_at WHERE (host, digest, repository) IN (SELECT host, digest, repository FROM blobs_at ORDER BY used, host, digest, repository LIMIT ?)",
        ).run(rows("blobs_at")).changes +
        this.#run(
          "DELETE FROM blobs WHERE (diff_id, codec) IN (SELECT diff_id, codec FROM blobs ORDER BY used, diff_id, codec LIMIT ?)",
        ).run(rows("blobs")).changes,
    );
  }

  /** Gives the space of deleted rows back to the file system. */
  shrink(): void {
    this.#run("VACUUM").run();
  }

  /** From now on a lock of another process is not waited for. */
  stopWaiting(): void {
    this.#database.pragma("busy_timeout = 0");
  }

  /** Writes down what was used and deletes what was found damaged. */
  writeFindings(): void {
    const findings = this.#later.splice(0);
    if (findings.length === 0) return;
    this.transaction(() => {
      for (const write of findings) write();
    });
  }

  close(): void {
    this.#database.close();
  }

  #useLayer(key: Digest): void {
    this.#run("UPDATE layers SET used = ? WHERE key = ?").run(this.#today, bytesOf(key));
  }

  #useBlob(diffId: Digest, codec: string): void {
    this.#run("UPDATE blobs SET used = ? WHERE diff_id = ? AND codec = ?").run(this.#today, bytesOf(diffId), codec);
  }

  /** Unless it was written anew meanwhile. */
  #dropLayer(key: Digest): void {
    const row = this.#run(LAYER).get(bytesOf(key));
    if (row !== undefined && layerOf(row as Row) === undefined) this.deleteLayer(key);
  }

  #dropBlob(diffId: Digest, codec: string): void {
    const row = this.#run(BLOB).get(bytesOf(diffId), codec);
    if (row !== undefined && blobOf(row as Row) === undefined) this.deleteBlob(diffId, codec);
  }

  #run(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare<unknown[], unknown>(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Tells a file from others that have its name before or after it; undefined where there is none. */
export function fileIdentity(file: string): string | undefined {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? undefined : `${stats.dev} ${stats.ino}`;
}

/**
 * Gives an unusable database another name, where it is still the file with this identity: several processes may find it unusable at once.
 * What is already set aside is replaced. Another process that has it open finds that it was moved and stops writing.
 */
export function setAside(file: string, identity: string): void {
  if (fileIdentity(file) !== identity) return;
  // First what SQLite would apply to the next file of this name.
  for (const part of ["-journal", "-wal", "-shm"]) rmSync(file + part, { force: true });
  renameSync(file, file + UNUSABLE);
}

/** Whether the error says that the file is not an intact database of SQLite's. */
export function isDamage(error: unknown): boolean {
  return (
    error instanceof UnusableDatabase || /^SQLITE_(CORRUPT|NOTADB|FORMAT|SCHEMA|ERROR)/.test(sqliteCodeOf(error) ?? "")
  );
}

/** @throws UnusableDatabase where it is neither empty nor ours */
function prepareDatabase(database: SqliteDatabase): void {
  // A cache may lose what the machine had not written when it lost power; a killed process loses nothing.
  database.pragma("synchronous = OFF");
  database.pragma("trusted_schema = OFF");
  database.pragma("cell_size_check = ON");
  if (isOurs(database)) return;
  database
    .transaction(() => {
      if (schemaOf(database).length > 0 || pragma(database, "user_version") !== 0) return;
      for (const sql of SCHEMA) database.exec(sql);
      database.pragma(`application_id = ${APPLICATION_ID}`);
      database.pragma(`user_version = ${SCHEMA_VERSION}`);
    })
    .immediate();
  if (!isOurs(database)) throw new UnusableDatabase("it is another program's or another version's");
}

function isOurs(database: SqliteDatabase): boolean {
  return (
    pragma(database, "application_id") === APPLICATION_ID &&
    pragma(database, "user_version") === SCHEMA_VERSION &&
    schemaOf(database).join("\n") === SCHEMA.join("\n")
  );
}

function schemaOf(database: SqliteDatabase): readonly unknown[] {
  return database.prepare("SELECT sql FROM sqlite_schema ORDER BY name").pluck().all();
}

function pragma(database: SqliteDatabase, name: string): unknown {
  return database.pragma(name, { simple: true });
}
