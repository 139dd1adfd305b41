import { closeSync, ftruncateSync, openSync } from "node:fs";
import { describeErrno, OciNixError } from "../../core/errors.js";

/** Makes an empty disk for a guest: a new file that takes no space. @throws OciNixError `output` */
export function makeGuestDisk(file: string, size: number): void {
  try {
    const fd = openSync(file, "wx", 0o600);
    try {
      ftruncateSync(fd, size);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new OciNixError("output", `cannot make a disk of ${size} bytes: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory with more space",
      cause: error,
    });
  }
}
