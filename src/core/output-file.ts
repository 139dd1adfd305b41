import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";

/** A file under a temporary name beside its own: it gets that name once it is whole, or none. */
export interface NewFile {
  readonly fd: number;
  /** To be called when all is written, at the latest by the other two. */
  close(): void;
  /** Gives the file its name, replacing what has it. @throws OciNixError `output` */
  commit(path: string): void;
  /** Removes it, unless it has its name. */
  discard(): void;
}

/**
 * @param directory where it is to be
 * @throws OciNixError `not-found` where there is no such directory, `output` where no file can be made in it
 */
export function createFile(directory: string): NewFile {
  const temporary = `${directory}/.oci-nix-${randomBytes(8).toString("hex")}.tmp`;
  let fd: number;
  try {
    fd = openSync(temporary, "wx");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") {
      throw new OciNixError("not-found", `there is no directory ${directory} to write to`, {
        hint: "make it first",
        cause: error,
      });
    }
    throw new OciNixError("output", `cannot write to ${directory}: ${describeErrno(error)}`, { cause: error });
  }
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    fd,
    close,
    commit(path) {
      close();
      try {
        renameSync(temporary, path);
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    discard() {
      close();
      rmSync(temporary, { force: true });
    },
  };
}

/**
 * Makes a directory and those above it, where they are missing. Not `mkdir` of Node with `recursive`: that never ends where the system
 * says of a directory whose parent is there that it is not found (in /proc).
 * @param mode of those that are made, less the umask
 * @throws OciNixError `output`
 */
export function makeDirectories(path: string, mode = 0o777): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const above = dirname(path);
  if (above !== path) makeDirectories(above, mode);
  try {
    mkdirSync(path, mode);
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (errnoOf(error) === "EEXIST" && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
    if (errnoOf(error) === "EEXIST") {
      throw new OciNixError("output", `cannot make the directory ${path}: there is something else of that name`);
    }
    throw new OciNixError("output", `cannot make the directory ${path}: ${describeErrno(error)}`, { cause: error });
  }
}

/**
 * Writes a file whole or not at all: readers see what was there before, or all of `text`. What is no regular file (a pipe,
 * /dev/stdout) is written to as it is.
 * @throws OciNixError `not-found` where the directory is missing, `output` where it cannot be written
 */
export function writeOutputFile(path: string, text: string): void {
  if (isSpecial(path)) {
    try {
      writeFileSync(path, text);
    } catch (error) {
      throw cannotWrite(path, error);
    }
    return;
  }
  const target = resolved(path);
  const file = createFile(target.includes("/") ? target.replace(/\/[^/]*$/, "") || "/" : ".");
  try {
    writeFileSync(file.fd, text);
    file.commit(target);
  } catch (error) {
    throw error instanceof OciNixError ? error : cannotWrite(path, error);
  } finally {
    file.discard();
  }
}

function isSpecial(path: string): boolean {
  try {
    return !statSync(path).isFile();
  } catch {
    // Missing, or what keeps it from being looked at keeps it from being written, too.
    return false;
  }
}

/** A symlink's target is replaced, not the symlink. */
function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function cannotWrite(path: string, error: unknown): OciNixError {
  return new OciNixError("output", `cannot write ${path}: ${describeErrno(error)}`, { cause: error });
}
