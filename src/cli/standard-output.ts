import { constants, fstatSync, readFileSync, statSync } from "node:fs";
import { isatty } from "node:tty";
import { OciNixError } from "../index.js";

const STDOUT = 1;

/** @param hint where an archive could go instead. @throws OciNixError `usage` where standard output is a terminal, `output` where it is closed */
export function checkStandardOutput(hint: string): void {
  if (isatty(STDOUT)) {
    throw new OciNixError("usage", "standard output is a terminal: an archive is not written to it", { hint });
  }
  if (isClosed()) {
    throw new OciNixError("output", "standard output is closed: there is nowhere to write the archive to", { hint });
  }
}

/**
 * Node opens /dev/null, for reading and writing, in place of a descriptor that was closed at the start; a shell's `> /dev/null` opens it
 * for writing only.
 */
function isClosed(): boolean {
  try {
    if (fstatSync(STDOUT).rdev !== statSync("/dev/null").rdev) return false;
    const [, flags = "0"] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${STDOUT}`, "utf8")) ?? [];
    return (Number.parseInt(flags, 8) & constants.O_RDWR) !== 0;
  } catch {
    return false;
  }
}
