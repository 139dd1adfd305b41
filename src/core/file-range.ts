import { closeSync, constants, fstatSync, openSync, read, readSync } from "node:fs";
import { promisify } from "node:util";
import type { BlockWriter } from "./block-writer.js";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";

/** Opens a regular file for reading. @throws OciNixError `not-found` or `unreadable` */
export function openForReading(path: string): { readonly fd: number; readonly size: number; close(): void } {
  let fd: number;
  try {
    // A FIFO with no writer would block for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new OciNixError(
      errnoOf(error) === "ENOENT" ? "not-found" : "unreadable",
      `cannot read ${path}: ${describeErrno(error)}`,
      {
        cause: error,
      },
    );
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new OciNixError("unreadable", `cannot read ${path}: it is not a regular file`);
  }
  return { fd, size: stat.size, close: () => closeSync(fd) };
}

/**
 * Copies a range of an open file into a writer.
 * @param inspect sees each piece as it passes; the piece is valid only during the call
 * @throws OciNixError `changed` where the file is shorter; `title` is what the message calls it
 */
export async function copyRange(
  fd: number,
  range: { readonly offset: number; readonly size: number },
  out: BlockWriter,
  title: string,
  inspect?: (piece: Uint8Array) => void | Promise<void>,
): Promise<void> {
  for (let done = 0; done < range.size; ) {
    if (out.room === 0) await out.flush();
    const count = readAt(
      fd,
      out.block,
      out.position,
      Math.min(out.room, range.size - done),
      range.offset + done,
      title,
    );
    if (count === 0) throw new OciNixError("changed", `${title} ended after ${done} of ${range.size} bytes`);
    if (inspect !== undefined) await inspect(out.block.subarray(out.position, out.position + count));
    out.position += count;
    done += count;
  }
}

/** Reads a range of an open file into memory. @throws OciNixError as {@link copyRange} */
export function readRange(
  fd: number,
  range: { readonly offset: number; readonly size: number },
  title: string,
): Buffer {
  const bytes = Buffer.alloc(range.size);
  for (let done = 0; done < range.size; ) {
    const count = readAt(fd, bytes, done, range.size - done, range.offset + done, title);
    if (count === 0) throw new OciNixError("changed", `${title} ended after ${done} of ${range.size} bytes`);
    done += count;
  }
  return bytes;
}

const readAsync = promisify(read);

/**
 * The bytes of an open file from its start, in pieces. Unlike a ReadStream it never closes the file, which a stream does where its
 * pipeline fails, whatever `autoClose` says.
 * @throws OciNixError `unreadable`; `title` is what the message calls the file
 */
export async function* readPieces(fd: number, title: string): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; ; ) {
    const piece = Buffer.allocUnsafe(PIECE);
    const { bytesRead } = await readAsync(fd, piece, 0, PIECE, at).catch((error: unknown) => {
      throw unreadable(title, error);
    });
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

const PIECE = 1 << 20;

function readAt(fd: number, into: Buffer, at: number, length: number, offset: number, title: string): number {
  try {
    return readSync(fd, into, at, length, offset);
  } catch (error) {
    throw unreadable(title, error);
  }
}

function unreadable(title: string, error: unknown): OciNixError {
  return new OciNixError("unreadable", `cannot read ${title}: ${describeErrno(error)}`, { cause: error });
}
