import { join } from "node:path";
import { OciNixError } from "../core/errors.js";
import type { SqliteDatabase } from "../core/sqlite.js";
import type { Closure } from "./closure.js";
import { queryDatabaseFile } from "./database-file.js";
import { buildClosure, checkSize, commonStoreDir, type DescribedObject } from "./described-closure.js";
import { normaliseNarHash } from "./hash.js";
import { parseStorePath, stateDirOf } from "./store-path.js";

/** The Nix database of the store whose logical directory is `storeDir`, with its files under `storeRoot`: where Nix keeps it by default. */
export function nixDatabaseFile(storeDir: string, storeRoot = "/"): string {
  return join(storeRoot, stateDirOf(storeDir), "db/db.sqlite");
}

/**
 * The closure of store paths as the local Nix database records it at one moment, also while Nix writes to it. Leaves nothing behind beside
 * the database and needs no write permission.
 *
 * @param roots store paths of one store, at least one
 * @param options.storeRoot where the store's files are: `/nix/store/x` is at `<storeRoot>/nix/store/x`; by default `/`
 * @param options.storeDir the logical store directory; by default that of the roots
 * @throws OciNixError `usage`: no roots; `not-found`: no database, or a root is not valid in it; `unreadable`; `invalid-input`: a root is no store path, or the
 *   database is corrupt or not of Nix
 */
export async function readLocalClosure(
  roots: readonly string[],
  options: { readonly storeRoot?: string; readonly storeDir?: string } = {},
): Promise<Closure> {
  if (roots.length === 0)
    throw new OciNixError("usage", "no store paths given", { hint: "name at least one store path" });
  const storeDir = options.storeDir ?? commonStoreDir(roots, "the list of store paths");
  for (const root of roots) parseStorePath(root, storeDir);
  const file = nixDatabaseFile(storeDir, options.storeRoot);
  const objects = await queryDatabaseFile(file, (database) => describeReachable(database, roots, file)).catch(addHint);
  return buildClosure({ objects }, { source: file, storeDir, roots });
}

function addHint(error: unknown): never {
  if (!(error instanceof OciNixError) || error.hint !== undefined) throw error;
  throw new OciNixError(error.code, error.message, {
    hint: "give the closure with --closure FILE, or the root of the store's file system with --store-root DIR",
    cause: error.cause,
  });
}

interface Row {
  readonly id: number;
  readonly path: unknown;
  readonly hash: unknown;
  readonly narSize: unknown;
  readonly deriver: unknown;
  readonly ca: unknown;
}

/** Bytes of a path, a hash or a content address; what is longer is none, and is not read. */
const MAX_TEXT = 4096;
/** A damaged table may have more rows than its file has room for. */
const MAX_REFERENCES = 1_000_000;

/** Breadth first from the roots, one indexed look-up an object and one for its references. */
function describeReachable(database: SqliteDatabase, roots: readonly string[], file: string): DescribedObject[] {
  const columns = checkSchema(database, file);
  const text = (name: string) => `case when octet_length(${name}) <= ${MAX_TEXT} then ${name} end as ${name}`;
  const optional = (name: string) => (columns.has(name) ? text(name) : `null as ${name}`);
  const select = `select id, ${text("path")}, ${text("hash")}, narSize, ${optional("deriver")}, ${optional("ca")} from ValidPaths`;
  const byPath = database.prepare<[string], Row>(`${select} where path = ?`);
  const byId = database.prepare<[number], Row>(`${select} where id = ?`);
  const referencesOf = database
    .prepare<[number], number>(`select reference from Refs where referrer = ? limit ${MAX_REFERENCES + 1}`)
    .pluck();

  for (const query of [byPath, byId, referencesOf]) checkIndexed(database, query.source, file);

  const rows = new Map<number, Row>();
  for (const root of roots) {
    const row = byPath.get(root);
    if (row === undefined) {
      throw new OciNixError("not-found", `${root} is not a valid path in the Nix database ${file}`, {
        hint: `build or fetch it first, for example with: nix-store --realise ${root}`,
      });
    }
    rows.set(row.id, row);
  }
  const references = new Map<number, readonly number[]>();
  // A Map's iteration reaches what is added meanwhile.
  for (const id of rows.keys()) {
    const ids = referencesOf.all(id);
    if (ids.length > MAX_REFERENCES)
      throw corrupt(file, `path number ${id} has more than ${MAX_REFERENCES} references`);
    references.set(id, ids);
    for (const reference of ids) {
      if (rows.has(reference)) continue;
      const row = byId.get(reference);
      if (row === undefined) throw corrupt(file, `path number ${id} refers to number ${reference}, which is missing`);
      rows.set(reference, row);
    }
  }
  return [...rows.values()].map((row) => ({
    ...describeRow(row, file),
    references: (references.get(row.id) as readonly number[]).map((id) => pathOf(rows.get(id) as Row, file)),
  }));
}

/** Without its index each look-up would read the whole table. @throws OciNixError `invalid-input` */
function checkIndexed(database: SqliteDatabase, query: string, file: string): void {
  const steps = database.prepare<[null], { readonly detail: string }>(`explain query plan ${query}`).all(null);
  if (steps.every(({ detail }) => detail.startsWith("SEARCH"))) return;
  throw new OciNixError(
    "invalid-input",
    `${file} is not a Nix database that we can read: it lacks an index for ${query}`,
    {
      hint: "every version of Nix makes it; give the closure with --closure FILE",
    },
  );
}

function describeRow(row: Row, file: string): Omit<DescribedObject, "references"> {
  const path = pathOf(row, file);
  return {
    path,
    narHash: normaliseNarHash(row.hash, `${file}: hash of ${path}`),
    // Nix writes null for the sizes that old versions did not record.
    narSize: row.narSize === null ? undefined : checkSize(row.narSize, `${file}: narSize of ${path}`),
    deriver: textOf(row.deriver),
    ca: textOf(row.ca),
  };
}

function pathOf(row: Row, file: string): string {
  if (typeof row.path === "string") return row.path;
  throw corrupt(file, `path number ${row.id} is no text`);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The columns of ValidPaths. @throws OciNixError `invalid-input` where a table or column that we need is missing */
function checkSchema(database: SqliteDatabase, file: string): ReadonlySet<string> {
  const columnsOf = (table: string) =>
    new Set(database.prepare<[string], string>("select name from pragma_table_info(?)").pluck().all(table));
  // A view would run whatever its author wants, for as long as he wants; virtual tables have no root page.
  const isTable = database
    .prepare<[string], number>(
      "select count(*) from sqlite_schema where name = ? collate nocase and type = 'table' and rootpage > 0",
    )
    .pluck();
  for (const table of ["ValidPaths", "Refs"]) {
    if (columnsOf(table).size === 0 || isTable.get(table) === 1) continue;
    throw new OciNixError("invalid-input", `${file} is not a Nix database: ${table} is no table of its own`);
  }
  const validPaths = columnsOf("ValidPaths");
  const needed = [
    ["ValidPaths", validPaths, ["id", "path", "hash", "narSize"]],
    ["Refs", columnsOf("Refs"), ["referrer", "reference"]],
  ] as const;
  for (const [table, columns, names] of needed) {
    const missing = names.find((name) => !columns.has(name));
    if (missing === undefined) continue;
    const what = columns.size === 0 ? `the table ${table}` : `the column ${missing} of the table ${table}`;
    throw new OciNixError("invalid-input", `${file} is not a Nix database that we can read: it lacks ${what}`, {
      hint: "databases of Nix 2.0 and later are supported; give the closure with --closure FILE",
    });
  }
  return validPaths;
}

function corrupt(file: string, flaw: string): OciNixError {
  return new OciNixError("invalid-input", `the Nix database ${file} is corrupt: ${flaw}`, {
    hint: "check it with: nix-store --verify",
  });
}
