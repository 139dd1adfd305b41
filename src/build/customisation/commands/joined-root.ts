import {
  type BigIntStats,
  chmodSync,
  constants,
  copyFileSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../../../core/byte-string.js";
import { compareStrings, describeErrno, errnoOf, OciNixError } from "../../../core/errors.js";
import type { EventLoopTurns } from "../../../core/event-loop-turns.js";
import type { Ownership } from "../../../core/ownership.js";
import { EntryCursor, type EntryList, type EntryType } from "../../../tar/entry-list.js";

/** What the tree is to be at one path, whatever the file system has there. */
export interface Said {
  readonly type: EntryType;
  readonly owner: Ownership;
}

/**
 * Makes the entries below a directory.
 * @param root empty
 * @param options.mtime of everything, in seconds
 * @param options.keepsMode whether a directory's mode is meant, by where it is read; others can be written to by their owner
 * @returns what was said of each path, which begins with a slash
 * @throws OciNixError `output` where something cannot be made; the signal's reason
 */
export async function makeTree(
  entries: EntryList,
  root: ByteString,
  options: {
    readonly mtime: number;
    readonly keepsMode: (source: ByteString) => boolean;
    readonly turns: EventLoopTurns;
  },
): Promise<ReadonlyMap<ByteString, Said>> {
  const { mtime, keepsMode, turns } = options;
  const said = new Map<ByteString, Said>();
  const cursor = new EntryCursor(entries);
  const directories: { readonly file: string | Buffer; readonly mode: number }[] = [];
  while (cursor.next()) {
    const waiting = turns.next();
    if (waiting !== undefined) await waiting;
    const { path, type, owner, linkTarget, source, contents } = cursor;
    if (path === "") continue;
    const mode = type !== "directory" || keepsMode(source) ? cursor.mode : cursor.mode | 0o200;
    const file = fsPath(`${root}/${path}`);
    said.set(`/${path}`, { type, owner });
    try {
      if (type === "directory") {
        mkdirSync(file, 0o700);
        directories.push({ file, mode });
      } else if (type === "symlink") {
        symlinkSync(fsPath(linkTarget), file);
        lutimesSync(file, mtime, mtime);
      } else {
        if (contents === undefined) copyFileSync(fsPath(source), file, constants.COPYFILE_FICLONE);
        else writeFileSync(file, contents);
        chmodSync(file, mode);
        utimesSync(file, mtime, mtime);
      }
    } catch (error) {
      const from = contents === undefined && type === "file" ? `copy ${displayBytes(source)} to` : "make";
      throw new OciNixError("output", `cannot ${from} ${displayBytes(`${root}/${path}`)}: ${describeErrno(error)}`, {
        hint: "the tree that commands change is made in TMPDIR: set it to a directory with more room",
        cause: error,
      });
    }
  }
  // What is made in a directory changes its time, and takes the right to.
  for (const { file, mode } of directories.reverse()) {
    utimesSync(file, mtime, mtime);
    chmodSync(file, mode);
  }
  return said;
}

/** One object of a directory tree. */
export interface Listed {
  /** Begins with a slash. */
  readonly path: ByteString;
  readonly stat: BigIntStats;
  /** st_mode & 07777, as it was before it was made readable. */
  readonly mode: number;
  readonly linkTarget: ByteString;
}

/**
 * Lists all that is below a directory, each directory before what is in it. What its owner may not read is made readable for that, and stays so.
 * @throws OciNixError `unreadable`; the signal's reason
 */
export async function listTree(root: ByteString, turns: EventLoopTurns): Promise<readonly Listed[]> {
  const listed: Listed[] = [];
  let at: ByteString = "/";
  const list = async (directory: ByteString): Promise<void> => {
    at = directory === "" ? "/" : directory.slice(0, 200);
    const names = readdirSync(fsPath(root + directory), { encoding: "latin1" }).sort(compareStrings);
    for (const name of names) {
      const waiting = turns.next();
      if (waiting !== undefined) await waiting;
      const path = `${directory}/${name}`;
      const file = fsPath(root + path);
      const stat = lstatSync(file, { bigint: true });
      const mode = Number(stat.mode & 0o7777n);
      const needed = stat.isDirectory() ? 0o700 : 0o400;
      const isPlain = stat.isDirectory() || stat.isFile();
      if (isPlain && (mode & needed) !== needed) chmodSync(file, (mode & 0o777) | needed);
      const linkTarget = stat.isSymbolicLink() ? readlinkSync(file, { encoding: "latin1" }) : "";
      listed.push({ path, stat, mode, linkTarget });
      if (stat.isDirectory()) await list(path);
    }
  };
  try {
    // Whatever they made of it, it is the image's root.
    chmodSync(fsPath(root), 0o700);
    await list("");
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    const isTooDeep = errnoOf(error) === "ENAMETOOLONG";
    throw new OciNixError(
      "unreadable",
      `cannot read what the commands made in ${displayBytes(at)}: ${describeErrno(error)}`,
      {
        cause: error,
        hint: isTooDeep ? "paths of at most 4,000 bytes can be read" : "the tree that commands change is in TMPDIR",
      },
    );
  }
  return listed;
}
