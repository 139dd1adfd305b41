import { closeSync, constants, openSync, readdirSync, readSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../../core/byte-string.js";
import { compareStrings, describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import type { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { GeneratedObject, SpecialFile } from "../../core/generated-object.js";
import { hashPartOf, ReferenceScanner } from "../../nix/reference-scan.js";
import { parseStorePath, type StorePath } from "../../nix/store-path.js";
import { rootPrefix } from "../file-tree.js";

const READ_AT_ONCE = 256 * 1024;

/** Store paths that may be referred to. */
export interface Candidates {
  /** Those that can be shipped. */
  readonly known: () => Promise<Iterable<StorePath>>;
  /** Of the store's files: what is found there and is not known is an error. */
  readonly storeRoot: string;
  readonly storeDir: string;
}

/**
 * The store paths that objects for a layer refer to, found as Nix finds references: by the hash parts in contents, names and link targets.
 * @throws OciNixError `not-found` for one that is in the store, but not known; `unreadable`; the signal's reason
 */
export async function referencesOf(
  objects: readonly (GeneratedObject | SpecialFile)[],
  candidates: Candidates,
  turns: EventLoopTurns,
): Promise<readonly StorePath[]> {
  if (objects.length === 0) return [];
  const known = new Map([...(await candidates.known())].map((path) => [hashPartOf(path), path]));
  const others = storePathsIn(candidates).filter((path) => !known.has(hashPartOf(path)));
  const unknown = new Map(others.map((path) => [hashPartOf(path), path]));
  const scanner = new ReferenceScanner([...known.keys(), ...unknown.keys()]);
  for (const object of objects) {
    const before = scanner.found.size;
    await scan(object, scanner, turns);
    if (scanner.found.size === before) continue;
    for (const [hash, path] of unknown) if (scanner.found.has(hash)) throw notKnown(path, object);
  }
  return [...scanner.found].map((hash) => known.get(hash) as StorePath).sort(compareStrings);
}

async function scan(
  object: GeneratedObject | SpecialFile,
  scanner: ReferenceScanner,
  turns: EventLoopTurns,
): Promise<void> {
  const look = (bytes: Uint8Array) => {
    scanner.scan(bytes);
    scanner.end();
  };
  look(Buffer.from(object.path.slice(object.path.lastIndexOf("/") + 1), "latin1"));
  if (object.type === "symlink") look(Buffer.from(object.linkTarget, "latin1"));
  else if ("contents" in object) look(object.contents);
  else if ("copyOf" in object) await scanFile(object.copyOf, scanner, turns);
}

async function scanFile(file: ByteString, scanner: ReferenceScanner, turns: EventLoopTurns): Promise<void> {
  let fd: number | undefined;
  try {
    fd = openSync(fsPath(file), constants.O_RDONLY | constants.O_NOFOLLOW);
    const buffer = Buffer.allocUnsafe(READ_AT_ONCE);
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
      scanner.scan(buffer.subarray(0, count));
      const waiting = turns.next();
      if (waiting !== undefined) await waiting;
    }
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    throw new OciNixError("unreadable", `cannot read ${displayBytes(file)}: ${describeErrno(error)}`, { cause: error });
  } finally {
    if (fd !== undefined) closeSync(fd);
    scanner.end();
  }
}

/** What lies in the store directory and is named like a store path, shorter names last: those of what Nix keeps beside one begin with its own. */
export function storePathsIn({ storeRoot, storeDir }: Omit<Candidates, "known">): StorePath[] {
  let names: readonly string[];
  try {
    names = readdirSync(fsPath(rootPrefix(storeRoot) + storeDir));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw new OciNixError("unreadable", `cannot list ${storeRoot}: ${describeErrno(error)}`, { cause: error });
  }
  return names
    .flatMap((name) => {
      try {
        return [parseStorePath(`${storeDir}/${name}`, storeDir)];
      } catch {
        return [];
      }
    })
    .sort((a, b) => compareStrings(b, a));
}

function notKnown(path: StorePath, object: GeneratedObject | SpecialFile): OciNixError {
  const where = `${displayBytes(object.path)}${object.source === undefined ? "" : ` of ${object.source}`}`;
  return new OciNixError("not-found", `${where} refers to ${path}, of which the closure graph knows nothing`, {
    hint: "add it to what the graph is exported of, or remove the reference",
  });
}
