import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { abortReason } from "../core/event-loop-turns.js";
import { openForReading, readPieces, readRange } from "../core/file-range.js";
import { runFilter } from "../core/process.js";

/** An open file. */
export interface UnpackedFile {
  readonly fd: number;
  readonly size: number;
  close(): void;
}

/**
 * Opens a file, plain or compressed as a whole: by gzip, or by bzip2, xz or zstd where that program is installed. A compressed
 * one is unpacked to a temporary file that has no name any more.
 * @throws OciNixError `not-found`, `unreadable`, `invalid-input` where it cannot be unpacked, `output` where there is no room
 */
export async function openUnpacked(path: string, signal?: AbortSignal): Promise<UnpackedFile> {
  const packed = openForReading(path);
  let fd: number | undefined;
  try {
    const magic = readRange(packed.fd, { offset: 0, size: Math.min(4, packed.size) }, path).toString("hex");
    const tool = DECOMPRESSORS.find(({ magic: start }) => magic.startsWith(start));
    if (magic.startsWith("1f8b")) fd = await unpackToTemporary(packed.fd, path, signal);
    else if (tool !== undefined) fd = await filterToTemporary(tool, packed.fd, path, signal);
    else return packed;
  } catch (error) {
    packed.close();
    throw error;
  }
  packed.close();
  const opened = fd;
  return { fd, size: fstatSync(fd).size, close: () => closeSync(opened) };
}

/** First bytes of an archive in hexadecimal, and who unpacks it. */
const DECOMPRESSORS = [
  { magic: "425a68", program: "bzip2", args: ["-dc"], debianPackage: "bzip2" },
  { magic: "fd377a58", program: "xz", args: ["-dc"], debianPackage: "xz-utils" },
  { magic: "28b52ffd", program: "zstd", args: ["-dcq"], debianPackage: "zstd" },
] as const;

async function filterToTemporary(
  tool: (typeof DECOMPRESSORS)[number],
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

async function unpackToTemporary(from: number, path: string, signal: AbortSignal | undefined): Promise<number> {
  const fd = openNameless();
  try {
    await pipeline(
      readPieces(from),
      createGunzip(),
      async (pieces: AsyncIterable<Buffer>) => {
        for await (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
      },
      { ...(signal === undefined ? {} : { signal }) },
    );
    return fd;
  } catch (error) {
    closeSync(fd);
    if (signal?.aborted) throw abortReason(signal);
    if (/^(ENOSPC|EDQUOT|EFBIG|EIO)$/.test(errnoOf(error) ?? "")) {
      throw new OciNixError("output", `${path} cannot be unpacked to ${tmpdir()}: ${describeErrno(error)}`, {
        hint: "set TMPDIR to a directory with more space, or unpack the image first: gunzip",
        cause: error,
      });
    }
    throw new OciNixError("invalid-input", `${path} cannot be unpacked: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** A temporary file that is gone whenever the process ends, however it ends. */
export function openNameless(): number {
  try {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-"));
    try {
      return openSync(join(directory, "archive.tar"), "wx+", 0o600);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  } catch (error) {
    throw new OciNixError("output", `cannot make a temporary file in ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory that can be written to",
      cause: error,
    });
  }
}
