import { constants, fstatSync, readFileSync, statSync } from "node:fs";
import { isatty } from "node:tty";
import { fdSink, OciNixError, streamPlannedImage } from "../../index.js";
import type { Invocation } from "../command.js";
import { openCaches, planOf, printSummary, withProgress } from "../delivery.js";

const STDOUT = 1;

/** Streams an image to standard output. */
export default async function stream(invocation: Invocation): Promise<void> {
  const { signal, flags } = invocation;
  if (isatty(STDOUT)) {
    throw new OciNixError("usage", "standard output is a terminal: an archive is not written to it", {
      hint: "oci-nix stream … | docker load, or > image.tar",
    });
  }
  checkStdoutIsOpen();
  const plan = await planOf(invocation);
  const sink = fdSink(STDOUT, "standard output", signal);
  const caches = openCaches(flags);
  try {
    const { result, seconds } = await withProgress(invocation, (observer) =>
      streamPlannedImage(plan, sink, { signal, observer, cache: caches.cache }),
    );
    printSummary(result, seconds, flags);
  } finally {
    caches.close();
    sink.close();
  }
}

/**
 * Node opens /dev/null, for reading and writing, in place of a descriptor that was closed at the start; a shell's `> /dev/null` opens it
 * for writing only.
 * @throws OciNixError `output`
 */
function checkStdoutIsOpen(): void {
  let flags: string | undefined;
  try {
    if (fstatSync(STDOUT).rdev !== statSync("/dev/null").rdev) return;
    flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${STDOUT}`, "utf8"))?.[1];
  } catch {
    return;
  }
  if (flags !== undefined && (Number.parseInt(flags, 8) & constants.O_RDWR) !== 0) {
    throw new OciNixError("output", "standard output is closed: there is nowhere to write the archive to", {
      hint: "oci-nix stream … | docker load, or > image.tar",
    });
  }
}
