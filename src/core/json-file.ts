import { closeSync, constants, createReadStream, fstatSync, openSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { type Json, parseJson } from "./json.js";

/** Bytes of a text that is held in memory as a whole: no spec, config or list of digests comes near. */
const MAX_TEXT = 256 * 1024 * 1024;

const STANDARD_INPUT = "/dev/stdin";

/** Reads a JSON file. @throws OciNixError as {@link readTextFile}; `invalid-input` where it is not JSON */
export async function readJsonFile(file: string): Promise<Json> {
  return parseJson(await readTextFile(file), file);
}

/** Reads a JSON file. @throws OciNixError as {@link readTextFileSync}; `invalid-input` where it is not JSON */
export function readJsonFileSync(file: string): Json {
  return parseJson(readTextFileSync(file), file);
}

/**
 * Reads a file of text; it may be a pipe, as a shell's `<(…)` is one.
 * @param options.max bytes, 256 MiB otherwise
 * @param options.hint of the error where it is not UTF-8
 * @throws OciNixError `not-found` or `unreadable`; `invalid-input` where it is not UTF-8; `limit` where it is larger than `max`, or does not
 *   end
 */
export async function readTextFile(
  file: string,
  options: { readonly max?: number | undefined; readonly hint?: string | undefined } = {},
): Promise<string> {
  const { max = MAX_TEXT, hint } = options;
  let bytes: Buffer;
  try {
    if ((await stat(file)).size > max) throw tooLarge(file, max);
    // Standard input not by its path, which cannot be opened where it is a socket.
    const stream = file === STANDARD_INPUT ? process.stdin : createReadStream(file, { highWaterMark: 1 << 20 });
    bytes = await collectBytes(stream, max, file);
  } catch (error) {
    throw error instanceof OciNixError ? error : unreadable(file, error);
  }
  return decoded(bytes, file, hint);
}

/**
 * Reads a file of text that somebody may wait for: only a regular one, so that it never waits itself.
 * @throws OciNixError `not-found`; `unreadable`, also where it is no regular file; `invalid-input` where it is not UTF-8; `limit` where it
 *   is larger than 256 MiB
 */
export function readTextFileSync(file: string): string {
  return decoded(readRegularFile(file), file);
}

/** The bytes of a file. @throws OciNixError as {@link readTextFileSync} */
export function readRegularFile(file: string): Buffer {
  try {
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const status = fstatSync(fd);
      if (!status.isFile() && !status.isDirectory()) {
        throw new OciNixError("unreadable", `cannot read ${file}: it is no regular file`);
      }
      if (status.size > MAX_TEXT) throw tooLarge(file, MAX_TEXT);
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw error instanceof OciNixError ? error : unreadable(file, error);
  }
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

function unreadable(file: string, cause: unknown): OciNixError {
  const code = errnoOf(cause) === "ENOENT" ? "not-found" : "unreadable";
  return new OciNixError(code, `cannot read ${file}: ${describeErrno(cause)}`, { cause });
}

function tooLarge(title: string, max: number): OciNixError {
  return new OciNixError("limit", `${title} is larger than ${max} bytes`, {
    hint: "is that the file you meant? Its beginning was not looked at",
  });
}

function decoded(bytes: Uint8Array, title: string, hint?: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new OciNixError("invalid-input", `${title} is not text in UTF-8`, {
      ...(hint !== undefined && { hint }),
      cause: error,
    });
  }
}
