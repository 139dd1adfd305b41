import { closeSync, openSync, readSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "./byte-string.js";
import { describeErrno, OciNixError } from "./errors.js";

const COMPARED_AT_ONCE = 64 * 1024;

/** A file to be read, or bytes that are at hand. */
export interface Contents {
  readonly size: number;
  readonly source: ByteString;
  /** Where there are some, `source` is read nowhere. */
  readonly contents?: Uint8Array | undefined;
}

/** Whether two files hold the same bytes. @throws OciNixError `unreadable` */
export function sameContents(a: Contents, b: Contents): boolean {
  if (a.size !== b.size) return false;
  if (a.source === b.source && a.contents === b.contents) return true;
  const [readA, readB] = [openContents(a), openContents(b)];
  try {
    for (let at = 0; at < a.size; at += COMPARED_AT_ONCE) {
      if (!readA.read(at).equals(readB.read(at))) return false;
    }
    return true;
  } finally {
    readA.close();
    readB.close();
  }
}

function openContents({ contents, source }: Contents): { read(at: number): Buffer; close(): void } {
  if (contents !== undefined) {
    const bytes = Buffer.from(contents.buffer, contents.byteOffset, contents.length);
    return { read: (at) => bytes.subarray(at, at + COMPARED_AT_ONCE), close: () => undefined };
  }
  const failed = (error: unknown) =>
    new OciNixError("unreadable", `cannot read ${displayBytes(source)}: ${describeErrno(error)}`, { cause: error });
  let fd: number;
  try {
    fd = openSync(fsPath(source), "r");
  } catch (error) {
    throw failed(error);
  }
  const buffer = Buffer.allocUnsafe(COMPARED_AT_ONCE);
  return {
    read(at) {
      let filled = 0;
      try {
        while (filled < buffer.length) {
          const count = readSync(fd, buffer, filled, buffer.length - filled, at + filled);
          if (count === 0) break;
          filled += count;
        }
      } catch (error) {
        throw failed(error);
      }
      return buffer.subarray(0, filled);
    },
    close: () => closeSync(fd),
  };
}
