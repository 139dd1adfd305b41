import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { type ByteString, displayBytes, fsPath, isAscii } from "../core/byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import type { EventLoopTurns } from "../core/event-loop-turns.js";
import type { EntryType } from "../tar/entry-list.js";

/** One file system object as found. */
export interface Found {
  /** Directories between it and the start of the walk, which itself is 0. */
  readonly depth: number;
  /** Its own name; for the start of the walk, the whole path given. */
  readonly name: ByteString;
  /** Where it was read. */
  readonly source: ByteString;
  readonly type: EntryType;
  /** st_mode & 07777; 0777 for a symlink. */
  readonly mode: number;
  /** Bytes of a file, else 0. */
  readonly size: number;
  readonly linkTarget: ByteString;
}

type Compare = (a: ByteString, b: ByteString) => number;

/**
 * Visits `start` and everything below it, a directory before its contents, siblings in the order given. Symlinks are never followed.
 *
 * @param compareNames order of siblings that are not all ASCII; ASCII names are in byte order under every profile
 * @throws OciNixError `not-found` or `unreadable` with the path; `invalid-input` for what a store object cannot hold: FIFOs, sockets,
 *   devices
 */
export async function walkStore(
  start: ByteString,
  compareNames: Compare,
  turns: EventLoopTurns,
  visit: (found: Found) => void,
): Promise<void> {
  const directories: { readonly path: ByteString; readonly names: readonly ByteString[]; next: number }[] = [];
  const enter = (source: ByteString, name: ByteString) => {
    const found = look(source, name, directories.length);
    visit(found);
    if (found.type === "directory") directories.push({ path: source, names: list(source, compareNames), next: 0 });
  };
  enter(start, start);
  for (let directory = directories.at(-1); directory !== undefined; directory = directories.at(-1)) {
    const name = directory.names[directory.next++];
    if (name === undefined) directories.pop();
    else enter(`${directory.path}/${name}`, name);
    const due = turns.next();
    if (due !== undefined) await due;
  }
}

function list(path: ByteString, compareNames: Compare): ByteString[] {
  try {
    // "latin1" turns each byte of a name into one character: names stay bytes.
    const names = readdirSync(fsPath(path), { encoding: "latin1" });
    return names.every(isAscii) ? names.sort() : names.sort(compareNames);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function look(source: ByteString, name: ByteString, depth: number): Found {
  const path = fsPath(source);
  try {
    const stat = lstatSync(path);
    if (stat.isFile()) {
      return { depth, name, source, type: "file", mode: stat.mode & 0o7777, size: stat.size, linkTarget: "" };
    }
    if (stat.isDirectory()) {
      return { depth, name, source, type: "directory", mode: stat.mode & 0o7777, size: 0, linkTarget: "" };
    }
    if (stat.isSymbolicLink()) {
      const linkTarget = readlinkSync(path, { encoding: "latin1" });
      return { depth, name, source, type: "symlink", mode: 0o777, size: 0, linkTarget };
    }
    const kind = stat.isFIFO() ? "a FIFO" : stat.isSocket() ? "a socket" : "a device";
    throw new OciNixError(
      "invalid-input",
      `${displayBytes(source)} is ${kind}: a store object holds only files, directories and symlinks`,
      {
        hint: "remove it, or leave its store path out",
      },
    );
  } catch (error) {
    throw error instanceof OciNixError ? error : unreadable(source, error);
  }
}

function unreadable(path: ByteString, error: unknown): OciNixError {
  const missing = errnoOf(error) === "ENOENT";
  return new OciNixError(
    missing ? "not-found" : "unreadable",
    `cannot read ${displayBytes(path)}: ${describeErrno(error)}`,
    missing
      ? { hint: "realise it with nix-store --realise, or say with --store-root where the store is", cause: error }
      : { cause: error },
  );
}
