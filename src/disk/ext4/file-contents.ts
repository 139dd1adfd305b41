import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { displayBytes, fsPath } from "../../core/byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import type { EntryCursor } from "../../tar/entry-list.js";
import { BLOCK } from "./block-file.js";

const ZEROS = Buffer.alloc(BLOCK);

/** Blocks of a file that follow each other and hold something. */
interface Data {
  /** Number of the first one within the file. */
  readonly logical: number;
  /** Valid until the next is asked for; the last block may be short. */
  readonly bytes: Uint8Array;
}

/**
 * The contents of the current entry but for blocks of zeros, which need no place.
 * @param buffer whole blocks, in which a file is read
 * @throws OciNixError `changed` where a file is not as long as its entry says, `invalid-input` where that is so by its file system, `unreadable` or `not-found` where it cannot be read
 */
export function* dataOf(cursor: EntryCursor, buffer: Buffer): Generator<Data, void, void> {
  if (cursor.contents !== undefined) {
    yield* withoutZeros(cursor.contents, 0);
    return;
  }
  const { size } = cursor;
  const fd = open(cursor);
  try {
    let at = 0;
    // What follows the end is asked for as well: nearly all files are read by one call.
    for (let ended = false; !ended; ) {
      const wanted = Math.min(buffer.length, size - at + 1);
      let count = 0;
      while (count < wanted) {
        const read = readPart(cursor, fd, buffer.subarray(count, wanted), at + count);
        if (read === 0) break;
        count += read;
      }
      if (at + count > size) throw otherSize(cursor, fd, `is longer than ${size} bytes`);
      ended = count < wanted;
      if (ended && at + count < size) throw otherSize(cursor, fd, `ended after ${at + count} of ${size} bytes`);
      if (count > 0) yield* withoutZeros(buffer.subarray(0, count), at / BLOCK);
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

function* withoutZeros(bytes: Uint8Array, logical: number): Generator<Data, void, void> {
  let from = -1;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    if (isZero(bytes, at)) {
      if (from !== -1) yield { logical: logical + from / BLOCK, bytes: bytes.subarray(from, at) };
      from = -1;
    } else if (from === -1) from = at;
  }
  if (from !== -1) yield { logical: logical + from / BLOCK, bytes: bytes.subarray(from) };
}

/** Whether the block that begins at `at`, or what there is of it, is all zeros. */
export function isZero(bytes: Uint8Array, at: number): boolean {
  // Most blocks say so with their first byte.
  if (bytes[at] !== 0) return false;
  const end = Math.min(bytes.length, at + BLOCK);
  return ZEROS.compare(bytes, at, end, 0, end - at) === 0;
}

function open(cursor: EntryCursor): number {
  try {
    // Never through a symlink, and never waiting for a FIFO: the entry said it is a file.
    return openSync(fsPath(cursor.source), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadable(cursor, error);
  }
}

function readPart(cursor: EntryCursor, fd: number, into: Buffer, position: number): number {
  try {
    return readSync(fd, into, 0, into.length, position);
  } catch (error) {
    throw unreadable(cursor, error);
  }
}

/** The error of a file that is not as long as it was said to be: it changed, or its file system says so of it all the time. */
function otherSize(cursor: EntryCursor, fd: number, what: string): OciNixError {
  if (fstatSync(fd).size === cursor.size) {
    return new OciNixError(
      "invalid-input",
      `${displayBytes(cursor.source)} ${what}, which is the size it has by its file system: it is made when it is read, as those in /proc and /sys are`,
      { hint: "copy it to an ordinary file (cat FILE > COPY), and name that" },
    );
  }
  return new OciNixError("changed", `${displayBytes(cursor.source)} changed while it was read: it ${what}`, {
    hint: "run it again while nothing changes the files",
  });
}

function unreadable(cursor: EntryCursor, error: unknown): OciNixError {
  const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
  return new OciNixError(code, `cannot read ${displayBytes(cursor.source)}: ${describeErrno(error)}`, { cause: error });
}
