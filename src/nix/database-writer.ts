import { compareStrings, OciNixError } from "../core/errors.js";
import { createSqliteInMemory, type SqliteDatabase } from "../core/sqlite.js";
import { canonicaliseSqliteFile } from "../core/sqlite-file.js";
import type { StoreObject } from "./closure.js";
import type { DerivationOutput } from "./derivation.js";
import { parseHash } from "./hash.js";
import type { StorePath } from "./store-path.js";

/** The version of {@link SCHEMA}, which Nix keeps in a file `schema` beside the database. It has not changed since Nix 2.0. */
export const SCHEMA_VERSION = "10";

/**
 * The schema as `.schema` shows it in a database that Nix made, spaces and comments included: SQLite keeps the text of statements, and
 * the order in which they come decides which page belongs to which table.
 */
const SCHEMA = `
CREATE TABLE ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer, -- null implies "false"
    sigs             text, -- space-separated
    ca               text -- if not null, an assertion that the path is content-addressed; see ValidPathInfo
);
CREATE TABLE Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
CREATE INDEX IndexReferrer on Refs(referrer);
CREATE INDEX IndexReference on Refs(reference);
CREATE TRIGGER DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;
CREATE TABLE DerivationOutputs (
    drv  integer not null,
    id   text not null, -- symbolic output id, usually "out"
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
CREATE INDEX IndexDerivationOutputs on DerivationOutputs(path);
`;

/**
 * What decides the file's bytes and what another build of SQLite may have other defaults for. Nix's own databases have this page size,
 * vacuum and encoding; with `secure_delete` what is overwritten leaves zeros, as {@link canonicaliseSqliteFile} wants it.
 */
const LAYOUT = ["page_size = 4096", "auto_vacuum = none", "encoding = 'UTF-8'", "secure_delete = on"];

/**
 * When a path was registered is not known here and must not be the time of day. 0 is what nix2container's databases have, and Nix
 * takes it for "unknown": it only shows the time, and decides nothing by it.
 */
const REGISTRATION_TIME = 0;

/**
 * The bytes of a Nix database in which `objects`, and nothing else, are valid. The same objects give the same bytes, in whatever order
 * they come and however often one is repeated, with whatever version of SQLite.
 *
 * Derivers, signatures, content addresses and "built here" are left open, as in a database made from a registration: what is known of
 * them depends on where a path came from, so that the same store paths would give different images on two machines.
 *
 * @param outputs the outputs of every derivation among the objects
 * @throws OciNixError `invalid-input`: an object's NAR hash or size is not known, or it refers to a path that is not among the objects
 */
export function formatNixDatabase(
  objects: Iterable<StoreObject>,
  outputs: ReadonlyMap<StorePath, readonly DerivationOutput[]> = new Map(),
): Uint8Array {
  const sorted = [...new Map([...objects].map((object) => [object.path, object])).values()].sort((a, b) =>
    compareStrings(a.path, b.path),
  );
  checkComplete(sorted);
  const database = createSqliteInMemory();
  try {
    for (const setting of LAYOUT) database.pragma(setting);
    // Checked above, and quicker without.
    database.pragma("foreign_keys = off");
    database.exec(SCHEMA);
    database.transaction(() => insert(database, sorted, outputs))();
    const bytes = database.serialize();
    // As if Nix had opened it before. Nix keeps its database with a write-ahead log, and turning that on needs the file for oneself: two
    // programs that opened a new image's database at the same time would find it "busy".
    canonicaliseSqliteFile(bytes, "write-ahead-log");
    return bytes;
  } finally {
    database.close();
  }
}

/** Ids are numbers in the order of paths, from 1, and references come after all paths: as Nix registers a closure. */
function insert(
  database: SqliteDatabase,
  sorted: readonly StoreObject[],
  outputs: ReadonlyMap<StorePath, readonly DerivationOutput[]>,
): void {
  const ids = new Map(sorted.map(({ path }, i) => [path, i + 1]));
  const addPath = database.prepare(
    `insert into ValidPaths (id, path, hash, registrationTime, narSize) values (?, ?, ?, ${REGISTRATION_TIME}, ?)`,
  );
  const addOutput = database.prepare("insert into DerivationOutputs (drv, id, path) values (?, ?, ?)");
  const addReference = database.prepare("insert into Refs (referrer, reference) values (?, ?)");
  for (const { path, narHash, narSize } of sorted) {
    addPath.run(ids.get(path), path, hashColumn(narHash, path), narSize);
    for (const output of outputs.get(path) ?? []) {
      // What is not known before it is built is registered when it is.
      if (output.path !== undefined) addOutput.run(ids.get(path), output.name, output.path);
    }
  }
  for (const { path, references } of sorted) {
    for (const reference of new Set([...references].sort(compareStrings))) {
      addReference.run(ids.get(path), ids.get(reference));
    }
  }
}

/** Nix's database has hashes in base-16, unlike everything that Nix prints. */
function hashColumn(narHash: string | undefined, path: StorePath): string {
  const { algorithm, bytes } = parseHash(narHash, `the NAR hash of ${path}`);
  return `${algorithm}:${Buffer.from(bytes).toString("hex")}`;
}

const SHOWN = 3;

function checkComplete(objects: readonly StoreObject[]): void {
  const paths = new Set(objects.map(({ path }) => path));
  for (const { path, narHash, narSize, references } of objects) {
    if (narHash === undefined || narSize === undefined) {
      const unknown = narHash === undefined ? "NAR hash" : "NAR size";
      throw new OciNixError("invalid-input", `the ${unknown} of ${path} is not known, and a Nix database needs it`, {
        hint:
          "take the closure from the Nix database, a registration (closureInfo, nix-store --dump-db), nix path-info --recursive " +
          "--json or .attrs.json; an exportReferencesGraph text tells neither hashes nor sizes",
      });
    }
    const missing = references.filter((reference) => !paths.has(reference));
    if (missing.length > 0) throw notClosed(path, missing);
  }
}

function notClosed(path: StorePath, missing: readonly StorePath[]): OciNixError {
  const shown = missing.slice(0, SHOWN).join(", ");
  const more = missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : "";
  const count = missing.length === 1 ? "1 store path" : `${missing.length} store paths`;
  return new OciNixError(
    "invalid-input",
    `${path} cannot be in the Nix database: it refers to ${count} that the database does not hold: ${shown}${more}`,
    { hint: "ship what it refers to as store paths, too, or leave it out" },
  );
}
