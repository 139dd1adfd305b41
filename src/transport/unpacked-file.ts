import { closeSync, createReadStream, fstatSync, openSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { isatty } from "node:tty";
import { createDecompressor, sniffCompression } from "../core/compression.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { abortReason, EventLoopTurns } from "../core/event-loop-turns.js";
import { openForReading, readPieces, readRange } from "../core/file-range.js";
import { runFilter, type Tool } from "../core/process.js";
import { makeTemporaryDirectory } from "../core/temporary.js";
import { hasChecksum } from "../tar/decode.js";
import { BLOCK } from "../tar/header.js";

/** An open file. */
export interface UnpackedFile {
  readonly fd: number;
  readonly size: number;
  close(): void;
}

/**
 * Opens a file, plain or compressed as a whole: by gzip or zstd, or by bzip2 or xz where that program is installed. A compressed
 * one is unpacked to a temporary file that has no name any more, and so is what comes through a pipe, in which nobody can go back.
 * @param path `-` is standard input
 * @throws OciNixError `not-found`, `unreadable`, `invalid-input` where it cannot be unpacked, `output` where there is no room
 */
export async function openUnpacked(path: string, signal?: AbortSignal): Promise<UnpackedFile> {
  const packed = path === "-" ? await openStandardInput(signal) : openForReading(path);
  const title = path === "-" ? STANDARD_INPUT : path;
  let fd: number | undefined;
  try {
    const head = readRange(packed.fd, { offset: 0, size: Math.min(BLOCK, packed.size) }, title);
    const compression = sniffCompression(head);
    if (compression === "none") return packed;
    fd =
      compression === "gzip" || compression === "zstd"
        ? await unpackToTemporary(compression, packed, title, signal)
        : await filterToTemporary(PROGRAMS[compression], packed.fd, title, signal);
  } catch (error) {
    packed.close();
    throw error;
  }
  packed.close();
  const opened = fd;
  return { fd, size: fstatSync(fd).size, close: () => closeSync(opened) };
}

/** What messages call it. */
export const STANDARD_INPUT = "standard input";

/** A descriptor of our own for standard input, or for a temporary file that holds all that came through it. */
async function openStandardInput(signal: AbortSignal | undefined): Promise<UnpackedFile> {
  let isFile: boolean;
  try {
    isFile = fstatSync(0).isFile();
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${STANDARD_INPUT}: ${describeErrno(error)}`, { cause: error });
  }
  if (isFile) return openForReading("/proc/self/fd/0");
  if (isatty(0)) {
    throw new OciNixError("usage", `${STANDARD_INPUT} is a terminal`, {
      hint: "pipe an archive into it, or name a file",
    });
  }
  const fd = openNameless();
  try {
    // A ReadStream waits in the event loop, so that signals are served; the descriptor stays open for whoever else has it.
    const input = createReadStream("", { fd: 0, autoClose: false, highWaterMark: 1 << 16 });
    await pipeline(
      input,
      async (pieces: AsyncIterable<Buffer>) => {
        // At a position, which leaves the file offset at the start for a program that reads the file.
        let position = 0;
        for await (const piece of pieces) {
          if (position < BLOCK && position + piece.length >= BLOCK) checkStart(fd, piece, position);
          writeAll(fd, piece, position);
          position += piece.length;
        }
      },
      { ...(signal === undefined ? {} : { signal }) },
    );
    return { fd, size: fstatSync(fd).size, close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    if (signal?.aborted) throw abortReason(signal);
    if (error instanceof OciNixError) throw error;
    if (isFull(error)) throw noRoom(`${STANDARD_INPUT} cannot be kept in`, error);
    throw new OciNixError("unreadable", `cannot read ${STANDARD_INPUT}: ${describeErrno(error)}`, { cause: error });
  }
}

/** What has no end may come in: what cannot be an archive is not kept until the disk is full. */
function checkStart(fd: number, piece: Buffer, position: number): void {
  const block = Buffer.concat([readRange(fd, { offset: 0, size: position }, STANDARD_INPUT), piece]).subarray(0, BLOCK);
  if (sniffCompression(block) !== "none" || hasChecksum(block)) return;
  throw new OciNixError("invalid-input", `${STANDARD_INPUT} is not a tar archive, nor one that is packed`);
}

function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(fd, bytes, at, bytes.length - at, position === undefined ? null : position + at);
  }
}

function isFull(error: unknown): boolean {
  return /^(ENOSPC|EDQUOT|EFBIG|EIO)$/.test(errnoOf(error) ?? "");
}

function noRoom(what: string, error: unknown): OciNixError {
  return new OciNixError("output", `${what} ${tmpdir()}: ${describeErrno(error)}`, {
    hint: "set TMPDIR to a directory with more space, or unpack the image first: gunzip",
    cause: error,
  });
}

/** Who unpacks what we do not. */
const PROGRAMS = {
  bzip2: { program: "bzip2", args: ["-dc"], debianPackage: "bzip2" },
  xz: { program: "xz", args: ["-dc"], debianPackage: "xz-utils" },
} as const;

async function filterToTemporary(
  tool: Tool,
  from: number,
  path: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const fd = openNameless();
  // The child shares our file offset, which reading the first bytes at a position has not moved.
  try {
    await runFilter(tool, from, fd, signal);
    return fd;
  } catch (error) {
    closeSync(fd);
    if (!(error instanceof OciNixError) || error.code === "interrupted") throw error;
    throw new OciNixError(error.code, `${path} cannot be unpacked: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

/** Of what is packed: more than this many bytes, and this many times its size, is no archive but an attack on the disk. */
const MIN_LIMIT = 2 ** 30;
const MAX_RATIO = 200;

async function unpackToTemporary(
  name: "gzip" | "zstd",
  packed: UnpackedFile,
  path: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const fd = openNameless();
  const limit = Math.max(MIN_LIMIT, MAX_RATIO * packed.size);
  let size = 0;
  const write = (bytes: Uint8Array) => {
    size += bytes.length;
    if (size > limit) {
      throw new OciNixError("limit", `${path} has ${packed.size} bytes and is more than ${limit} unpacked`, {
        hint: "no archive of images is; unpack it first if you trust it",
      });
    }
    writeAll(fd, bytes);
  };
  const filter = createDecompressor(name, { write }, path, { takesPadding: true });
  const turns = new EventLoopTurns(signal);
  try {
    for await (const piece of readPieces(packed.fd, path)) {
      await filter.write(piece);
      await turns.next();
    }
    await filter.end();
    return fd;
  } catch (error) {
    closeSync(fd);
    if (error instanceof OciNixError) throw error;
    if (isFull(error)) throw noRoom(`${path} cannot be unpacked to`, error);
    throw new OciNixError("unreadable", `cannot read ${path}: ${describeErrno(error)}`, { cause: error });
  } finally {
    filter.close();
  }
}

/** A temporary file that is gone whenever the process ends, however it ends. */
export function openNameless(): number {
  const directory = makeTemporaryDirectory();
  try {
    return openSync(join(directory.path, "archive.tar"), "wx+", 0o600);
  } catch (error) {
    throw new OciNixError("output", `cannot make a temporary file in ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory that can be written to",
      cause: error,
    });
  } finally {
    directory.remove();
  }
}
