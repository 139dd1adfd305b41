import { statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { type ByteSink, fdSink, fileSink } from "./byte-sink.js";
import { describeErrno, OciNixError } from "./errors.js";
import { createFile, descriptorNamed, followLinks, publishFile } from "./output-file.js";
import { removeLeftovers } from "./temporary.js";

/** A place for bytes that are made in order. */
export interface OutputSink extends ByteSink {
  /** All is written: a file gets its name, in place of what has it. @throws OciNixError `output` */
  commit(): Promise<void>;
  /** Gives back everything; a file that was not committed is gone. */
  close(): void;
}

const STDOUT = 1;

/**
 * Opens a file that appears whole, or not at all. What is no regular file (a pipe, a device), or is named as a descriptor (/dev/fd/3), is
 * written to as it is; a symlink's target is replaced, not the symlink.
 * @param file `-` is standard output
 * @throws OciNixError `not-found` where the directory is missing, `output` where it cannot be written
 */
export async function openOutputSink(file: string, signal?: AbortSignal): Promise<OutputSink> {
  const descriptor = file === "-" ? STDOUT : descriptorNamed(file);
  if (descriptor !== undefined) return descriptorSink(descriptor, file === "-" ? "standard output" : file, signal);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isDirectory()) {
    throw new OciNixError("output", `cannot write ${file}: it is a directory`, { hint: "name a file" });
  }
  if (stat === undefined || stat.isFile()) return wholeFileSink(followLinks(file));
  try {
    // Waits for a FIFO's reader without keeping signals from being served.
    const handle = await open(file, "w");
    const sink = descriptorSink(handle.fd, file, signal);
    return {
      ...sink,
      close() {
        sink.close();
        handle.close().catch(() => undefined);
      },
    };
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    throw new OciNixError("output", `cannot write ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

/** Writes a text as {@link openOutputSink} has it. @throws OciNixError as that; the signal's reason */
export async function writeOutput(file: string, text: string, signal?: AbortSignal): Promise<void> {
  const output = await openOutputSink(file, signal);
  try {
    await output.write(Buffer.from(text));
    await output.commit();
  } finally {
    output.close();
  }
}

function descriptorSink(fd: number, title: string, signal: AbortSignal | undefined): OutputSink {
  const sink = fdSink(fd, title, signal);
  return {
    write: (bytes, whileFull) => sink.write(bytes, whileFull),
    commit: async () => undefined,
    close: () => sink.close(),
  };
}

function wholeFileSink(path: string): OutputSink {
  const directory = dirname(path);
  removeLeftovers(directory);
  const file = createFile(directory);
  const sink = fileSink(file.fd, path);
  return {
    write: (bytes) => sink.write(bytes),
    async commit() {
      await publishFile(file, path);
    },
    close: () => file.discard(),
  };
}
