import { createHash, type Hash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import { encodeNixBase32 } from "./hash.js";

const BLOCK = 256 * 1024;
const OWNER_EXECUTE = 0o100;

/**
 * The NAR hash of a file system object, as `sha256:` and Nix base-32: what the Nix database records. Nix manual, "Nix Archive".
 * @throws OciNixError `unreadable`; the signal's reason
 */
export async function narHash(path: ByteString, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafeSlow(BLOCK);
  const turns = new EventLoopTurns(signal);
  const node = async (at: ByteString): Promise<void> => {
    const stat = lstatSync(fsPath(at));
    put(hash, "(", "type");
    if (stat.isDirectory()) {
      put(hash, "directory");
      for (const name of readdirSync(fsPath(at), { encoding: "latin1" }).sort()) {
        put(hash, "entry", "(", "name", name, "node");
        await node(`${at}/${name}`);
        put(hash, ")");
      }
    } else if (stat.isSymbolicLink()) {
      put(hash, "symlink", "target", readlinkSync(fsPath(at), { encoding: "latin1" }));
    } else {
      put(hash, "regular");
      if ((stat.mode & OWNER_EXECUTE) !== 0) put(hash, "executable", "");
      put(hash, "contents");
      hash.update(lengthOf(stat.size));
      await contents(at, stat.size);
      hash.update(padding(stat.size));
    }
    put(hash, ")");
    const due = turns.next();
    if (due !== undefined) await due;
  };
  const contents = async (at: ByteString, size: number): Promise<void> => {
    const fd = openSync(fsPath(at), "r");
    try {
      for (let left = size; left > 0; ) {
        const count = readSync(fd, block, 0, Math.min(left, BLOCK), null);
        if (count === 0) break;
        hash.update(block.subarray(0, count));
        left -= count;
        const due = turns.next();
        if (due !== undefined) await due;
      }
    } finally {
      closeSync(fd);
    }
  };
  put(hash, "nix-archive-1");
  try {
    await node(path);
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    throw new OciNixError("unreadable", `cannot read ${displayBytes(path)}: ${describeErrno(error)}`, { cause: error });
  }
  return `sha256:${encodeNixBase32(hash.digest())}`;
}

/** Strings of an archive: length, bytes, zeros up to a multiple of eight. */
function put(hash: Hash, ...strings: readonly ByteString[]): void {
  for (const text of strings) {
    hash.update(lengthOf(text.length));
    hash.update(text, "latin1");
    hash.update(padding(text.length));
  }
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(length));
  return bytes;
}

function padding(length: number): Buffer {
  return Buffer.alloc((8 - (length % 8)) % 8);
}
