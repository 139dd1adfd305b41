import {
  closeSync,
  constants,
  copyFileSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { removeLeftovers, temporaryName } from "./temporary.js";

/** A file under a temporary name beside its own: it gets that name once it is whole, or none. */
export interface NewFile {
  readonly fd: number;
  /** Its temporary name, for a program that writes to it. */
  readonly path: string;
  /** To be called when all is written, at the latest by the other two. */
  close(): void;
  /** Gives the file its name, replacing what has it. @throws OciNixError `output` */
  commit(path: string): void;
  /** Removes it, unless it has its name. Never fails. */
  discard(): void;
}

/**
 * @param directory where it is to be
 * @throws OciNixError `not-found` where there is no such directory, `output` where no file can be made in it
 */
export function createFile(directory: string): NewFile {
  const temporary = temporaryName(directory);
  let fd: number;
  try {
    fd = openSync(temporary, "wx");
  } catch (error) {
    // Some directories are there and take no file, as /proc.
    if (errnoOf(error) === "ENOENT" && statSync(directory, { throwIfNoEntry: false }) === undefined) {
      throw new OciNixError("not-found", `there is no directory ${directory} to write to`, {
        hint: "make it first",
        cause: error,
      });
    }
    throw new OciNixError("output", `cannot write to ${directory}: ${describeErrno(error)}`, { cause: error });
  }
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    closeSync(fd);
  };
  return {
    fd,
    path: temporary,
    close,
    commit(path) {
      try {
        close();
        renameSync(temporary, path);
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    discard() {
      try {
        close();
      } catch {
        // What led here is what matters.
      }
      removeTemporary(temporary);
    },
  };
}

/** A file that cannot be removed now is removed by the next run. */
function removeTemporary(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // Whatever was to be said is said already.
  }
}

/**
 * Puts the contents of a file that does not change at `path` without copying a byte: as a clone, where the file system has them, or as a
 * hard link.
 * @returns false where neither can be: on another file system, or the file is somebody else's or has other permissions than a new one
 */
export function adoptFile(file: string, path: string): boolean {
  const temporary = temporaryName(dirname(path));
  try {
    const { uid, mode } = lstatSync(file);
    if (uid !== process.geteuid?.() || mode !== (constants.S_IFREG | (0o666 & ~process.umask()))) return false;
    try {
      copyFileSync(file, temporary, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    } catch {
      removeTemporary(temporary);
      linkSync(file, temporary);
    }
    // Whose file it was need not have waited for the disk.
    const fd = openSync(temporary, "r");
    try {
      fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    return true;
  } catch {
    return false;
  } finally {
    // A rename between two links of one file does nothing and leaves both.
    removeTemporary(temporary);
  }
}

/** Waits until a file's bytes are on the disk. @throws OciNixError `output`; `path` is what the message calls it */
export function syncFile(fd: number, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error === null ? resolve() : reject(cannotWrite(path, error))));
  });
}

/**
 * Gives a file its name for good: neither its bytes nor its name are lost with the power.
 * @throws OciNixError `output`
 */
export async function publishFile(file: NewFile, path: string): Promise<void> {
  await syncFile(file.fd, path);
  file.commit(path);
  syncDirectory(dirname(path));
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
 * Writes a file whole or not at all: readers see what was there before, or all of `text`. What is no regular file (a pipe, a device), or
 * is named as a descriptor (/dev/stdout), is written to as it is. A symlink's target is replaced, not the symlink.
 * When this returns a file and its name are on the disk.
 * @throws OciNixError `not-found` where the directory is missing, `output` where it cannot be written
 */
export function writeOutputFile(path: string, text: string): void {
  const descriptor = descriptorNamed(path);
  if (descriptor !== undefined || isSpecial(path)) {
    try {
      writeFileSync(descriptor ?? path, text);
    } catch (error) {
      throw cannotWrite(path, error);
    }
    return;
  }
  const target = followLinks(path);
  const directory = dirname(target);
  removeLeftovers(directory);
  const file = createFile(directory);
  try {
    writeFileSync(file.fd, text);
    fdatasyncSync(file.fd);
    file.commit(target);
    syncDirectory(directory);
  } catch (error) {
    throw error instanceof OciNixError ? error : cannotWrite(path, error);
  } finally {
    file.discard();
  }
}

/** Waits until the names in a directory are on the disk, where the file system can tell. */
export function syncDirectory(directory: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(directory, "r");
    fsyncSync(fd);
  } catch {
    // Not all file systems do that, and not all directories that may be written may be read.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The number of the descriptor of this process that a path is a name of: 1 for `/dev/stdout`; undefined for all other paths. */
export function descriptorNamed(path: string): number | undefined {
  const names = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
  if (names.includes(path)) return names.indexOf(path);
  const [, number] = /^\/(?:dev|proc\/self)\/fd\/(\d{1,9})$/.exec(path) ?? [];
  return number === undefined ? undefined : Number(number);
}

function isSpecial(path: string): boolean {
  try {
    return !statSync(path).isFile();
  } catch {
    // Missing, or what keeps it from being looked at keeps it from being written, too.
    return false;
  }
}

const MAX_LINKS = 40;

/** What a path leads to, also where that is not there yet. */
export function followLinks(path: string): string {
  let at = resolve(path);
  for (let links = 0; links < MAX_LINKS; links++) {
    let target: string;
    try {
      target = readlinkSync(at);
    } catch {
      break;
    }
    at = resolve(dirname(at), target);
  }
  try {
    return realpathSync(at);
  } catch {
    return at;
  }
}

function cannotWrite(path: string, error: unknown): OciNixError {
  return new OciNixError("output", `cannot write ${path}: ${describeErrno(error)}`, { cause: error });
}
