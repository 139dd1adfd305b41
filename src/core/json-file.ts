import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { type Json, parseJson } from "./json.js";

/** Bytes of a text that is held in memory as a whole: no spec, config or list of digests comes near. */
const MAX_TEXT = 256 * 1024 * 1024;
const PIECE = 256 * 1024;

/** Reads a JSON file. @throws OciNixError as {@link readTextFile}; `invalid-input` where it is not JSON */
export function readJsonFile(file: string): Json {
  return parseJson(readTextFile(file), file);
}

/**
 * Reads a file of text; it may be a pipe, as a shell's `<(…)` is one.
 * @throws OciNixError `not-found` or `unreadable`; `invalid-input` where it is not UTF-8; `limit` where it is larger than 256 MiB, or does not end
 */
export function readTextFile(file: string): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readUpTo(file, MAX_TEXT);
  } catch (error) {
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
    throw new OciNixError(code, `cannot read ${file}: ${describeErrno(error)}`, { cause: error });
  }
  if (bytes === undefined) throw tooLarge(file, MAX_TEXT);
  return decoded(bytes, file);
}

/**
 * Reads a stream of text, which errors call `title`, to its end.
 * @throws OciNixError `invalid-input` where it is not UTF-8; `limit` where it is larger than 256 MiB; the stream's own errors
 */
export async function readTextStream(stream: AsyncIterable<Uint8Array>, title: string): Promise<string> {
  return decoded(await collectBytes(stream, MAX_TEXT, title), title);
}

/** All bytes of a stream. @throws OciNixError `limit` once there are more than `max`; the stream's own errors */
export async function collectBytes(stream: AsyncIterable<Uint8Array>, max: number, title: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of stream) {
    size += piece.length;
    if (size > max) throw tooLarge(title, max);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

/** A whole file, of which nobody need know the size; undefined where it is larger. @throws the failed system call's error */
function readUpTo(file: string, max: number): Buffer | undefined {
  const fd = openSync(file, "r");
  try {
    const { size } = fstatSync(fd);
    if (size > max) return undefined;
    const full: Buffer[] = [];
    let total = 0;
    // One byte more than there should be finds the end, or that the file grew.
    let piece = Buffer.allocUnsafe(Math.max(size + 1, PIECE));
    let length = 0;
    for (let read = -1; read !== 0; length += read, total += read) {
      if (total > max) return undefined;
      if (length === piece.length) {
        full.push(piece);
        piece = Buffer.allocUnsafe(PIECE);
        length = 0;
      }
      read = readSync(fd, piece, length, piece.length - length, null);
    }
    return full.length === 0 ? piece.subarray(0, length) : Buffer.concat([...full, piece], total);
  } finally {
    closeSync(fd);
  }
}

function tooLarge(title: string, max: number): OciNixError {
  return new OciNixError("limit", `${title} is larger than ${max} bytes`, {
    hint: "is that the file you meant? Its beginning was not looked at",
  });
}

function decoded(bytes: Uint8Array, title: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new OciNixError("invalid-input", `${title} is not text in UTF-8`, { cause: error });
  }
}
