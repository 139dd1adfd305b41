import { closeSync, ftruncateSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { type ByteSink, fdSink, fileSink } from "../core/byte-sink.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { readPieces } from "../core/file-range.js";
import { createFile, descriptorNamed, followLinks, type NewFile, publishFile } from "../core/output-file.js";
import { removeLeftovers } from "../core/temporary.js";
import { BLOCK, padded } from "../tar/header.js";
import { memberHeader } from "../tar/member-header.js";
import { openNameless } from "./unpacked-file.js";

const STDOUT = 1;

/** The members of an archive that is written, one after another. */
export interface ArchiveOutput {
  /** @param name undefined, as `size`, where it is told by `commit` only */
  begin(name: string | undefined, size: number | undefined): Promise<ArchiveMemberOutput>;
  /** Writes the end of the archive. */
  end(): Promise<void>;
  close(): void;
}

/** A member's contents. */
export interface ArchiveMemberOutput extends ByteSink {
  commit(name: string, size: number): Promise<void>;
  discard(): Promise<void>;
}

/** @param file `-` for standard output @throws OciNixError `output` or `not-found` */
export async function openArchiveOutput(file: string, signal: AbortSignal | undefined): Promise<ArchiveOutput> {
  const descriptor = file === "-" ? STDOUT : descriptorNamed(file);
  if (descriptor !== undefined) return fdOutput(descriptor, file === "-" ? "standard output" : file, signal);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isDirectory()) {
    throw new OciNixError("output", `cannot write ${file}: it is a directory`, { hint: "name a file" });
  }
  if (stat === undefined || stat.isFile()) return fileOutput(followLinks(file));
  try {
    // Waits for a FIFO's reader without keeping signals from being served.
    const handle = await open(file, "w");
    const output = fdOutput(handle.fd, file, signal);
    return {
      ...output,
      close() {
        output.close();
        handle.close().catch(() => undefined);
      },
    };
  } catch (error) {
    throw error instanceof OciNixError
      ? error
      : new OciNixError("output", `cannot write ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

/** Into a file headers can be written when their members' sizes are known. */
function fileOutput(path: string): ArchiveOutput {
  const directory = dirname(path);
  removeLeftovers(directory);
  const file: NewFile = createFile(directory);
  let end = 0;
  const put = (bytes: Uint8Array, at: number) => fileSink(file.fd, path, at).write(bytes);
  return {
    async begin() {
      const start = end;
      const contents = fileSink(file.fd, path, start + BLOCK);
      return {
        write: contents.write,
        async commit(name, size) {
          put(memberHeader(name, size), start);
          end = start + BLOCK + padded(size);
          put(Buffer.alloc(end - contents.position), contents.position);
        },
        async discard() {
          if (end !== start) return;
          try {
            ftruncateSync(file.fd, start);
          } catch (error) {
            throw new OciNixError("output", `cannot write ${path}: ${describeErrno(error)}`, { cause: error });
          }
        },
      };
    },
    async end() {
      put(Buffer.alloc(2 * BLOCK), end);
      await publishFile(file, path);
    },
    close: () => file.discard(),
  };
}

function fdOutput(fd: number, title: string, signal: AbortSignal | undefined): ArchiveOutput {
  const sink = fdSink(fd, title, signal);
  return { ...streamOutput(sink), close: () => sink.close() };
}

/** An archive that goes where nobody can go back, so that a member whose size is not known waits in a temporary file until it is. */
export function streamOutput(sink: ByteSink): Omit<ArchiveOutput, "close"> {
  const zeros = Buffer.alloc(2 * BLOCK);
  const pad = async (size: number) => await sink.write(zeros.subarray(0, padded(size) - size));
  return {
    async begin(name, size) {
      if (name === undefined || size === undefined) return await spooled(sink, pad);
      await sink.write(memberHeader(name, size));
      return {
        write: (bytes, whileFull) => sink.write(bytes, whileFull),
        commit: async () => await pad(size),
        discard: async () => undefined,
      };
    },
    end: async () => await sink.write(zeros),
  };
}

const TEMPORARY_FILE = "a temporary file";

/** Keeps a member in a temporary file until its name and size are known. */
async function spooled(sink: ByteSink, pad: (size: number) => Promise<void>): Promise<ArchiveMemberOutput> {
  const fd = openNameless();
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    write: fileSink(fd, TEMPORARY_FILE).write,
    async commit(name, size) {
      try {
        await sink.write(memberHeader(name, size));
        for await (const piece of readPieces(fd, TEMPORARY_FILE)) await sink.write(piece);
        await pad(size);
      } finally {
        close();
      }
    },
    discard: async () => close(),
  };
}
