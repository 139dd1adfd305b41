import { closeSync, constants, openSync, readSync } from "node:fs";
import type { BlobSource } from "../core/blob.js";
import type { BlockWriter } from "../core/block-writer.js";
import { displayBytes, fsPath } from "../core/byte-string.js";
import type { Digest } from "../core/digest.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { EntryCursor, type EntryList } from "./entry-list.js";
import { BLOCK, padded } from "./header.js";
import type { TarProfile } from "./profile.js";

/** How a list of entries becomes an archive. */
export interface TarOptions {
  readonly profile: TarProfile;
  /** Modification time of every entry, in seconds since 1970. */
  readonly mtime: number;
}

/** The exact length of the archive that {@link writeTar} writes for these entries. */
export function tarSize(entries: EntryList, { profile, mtime }: TarOptions): number {
  let size = 2 * BLOCK;
  const cursor = new EntryCursor(entries);
  while (cursor.next()) size += profile.headerLength(cursor, mtime) + padded(cursor.size);
  return Math.ceil(size / profile.recordSize) * profile.recordSize;
}

/**
 * Writes the entries as one archive, opening each file once. Synchronous but for the writer's own waits: a promise a file would cost
 * more than reading it.
 * @throws OciNixError `changed` where a file is not as long as its entry says, `unreadable` or `not-found` where it cannot be read
 */
export async function writeTar(entries: EntryList, { profile, mtime }: TarOptions, out: BlockWriter): Promise<void> {
  const start = out.written;
  let headers = Buffer.allocUnsafe(4 * BLOCK);
  const cursor = new EntryCursor(entries);
  while (cursor.next()) {
    const length = profile.headerLength(cursor, mtime);
    if (length > headers.length) headers = Buffer.allocUnsafe(length);
    profile.putHeaders(headers, cursor, mtime);
    if (length <= out.room) {
      headers.copy(out.block, out.position, 0, length);
      out.position += length;
    } else {
      await out.put(headers.subarray(0, length));
    }
    out.progress.files++;
    if (cursor.size === 0) continue;
    const waiting = putFile(cursor, out);
    if (waiting !== undefined) await waiting;
    const padding = padded(cursor.size) - cursor.size;
    if (padding <= out.room) {
      out.block.fill(0, out.position, out.position + padding);
      out.position += padding;
    } else {
      await out.putZeros(padding);
    }
  }
  const written = out.written - start;
  await out.putZeros(Math.ceil((written + 2 * BLOCK) / profile.recordSize) * profile.recordSize - written);
}

/** The archive of these entries as a blob: its size is known at once, its digest only when it is written. */
export function tarBlob(title: string, entries: EntryList, options: TarOptions): BlobSource {
  return {
    title,
    size: tarSize(entries, options),
    async writeTo(out): Promise<Digest> {
      out.beginDigest();
      await writeTar(entries, options, out);
      return out.endDigest();
    },
  };
}

/** Small files, nearly all, need no promise: they are read in one call if the block has room for them. */
function putFile(file: EntryCursor, out: BlockWriter): void | Promise<void> {
  const fd = openFile(file);
  let read = 0;
  try {
    // One byte more than expected is asked for, so that a file that grew shows without another call.
    if (file.size < out.room) read = readFile(file, fd, out, file.size + 1);
    if (read === file.size) {
      out.position += read;
      closeSync(fd);
      return undefined;
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  out.position += Math.min(read, file.size);
  return putRest(file, fd, read, out);
}

async function putRest(file: EntryCursor, fd: number, alreadyRead: number, out: BlockWriter): Promise<void> {
  try {
    let done = alreadyRead;
    while (done < file.size) {
      if (out.room === 0) await out.flush();
      const count = readFile(file, fd, out, Math.min(out.room, file.size - done));
      if (count === 0) throw changed(file, `ended after ${done} of ${file.size} bytes`);
      out.position += count;
      done += count;
    }
    if (out.room === 0) await out.flush();
    if (done > file.size || readFile(file, fd, out, 1) > 0) throw changed(file, `is longer than ${file.size} bytes`);
  } finally {
    closeSync(fd);
  }
}

function openFile(file: EntryCursor): number {
  try {
    // Never through a symlink: the entry said it is a file.
    return openSync(fsPath(file.source), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw unreadable(file, error);
  }
}

function readFile(file: EntryCursor, fd: number, out: BlockWriter, count: number): number {
  try {
    return readSync(fd, out.block, out.position, count, null);
  } catch (error) {
    throw unreadable(file, error);
  }
}

function changed(file: EntryCursor, what: string): OciNixError {
  return new OciNixError("changed", `${displayBytes(file.source)} changed while it was read: it ${what}`, {
    hint: "store objects must not change; nix-store --verify --check-contents finds damaged ones",
  });
}

function unreadable(file: EntryCursor, error: unknown): OciNixError {
  const code = (error as NodeJS.ErrnoException).code;
  return new OciNixError(
    code === "ENOENT" ? "not-found" : "unreadable",
    `cannot read ${displayBytes(file.source)}: ${describeErrno(error)}`,
    code === "ENOENT"
      ? { hint: "it was there when its directory was listed: is a garbage collection running?", cause: error }
      : { cause: error },
  );
}
