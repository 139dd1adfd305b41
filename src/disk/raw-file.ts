import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { followLinks, syncDirectory } from "../core/output-file.js";
import { removeLeftovers, temporaryName } from "../core/temporary.js";

/** A disk image before it has its name: files beside it that are gone if it does not get it. */
export class UnnamedDisk {
  /** What it will be called. */
  readonly path: string;
  readonly #files: string[] = [];

  /**
   * @param to the file, or a directory that `name` goes to
   * @throws OciNixError `output` where it is something else than a file; `not-found` where there is no such directory
   */
  constructor(to: string, name: string) {
    const target = followLinks(to);
    const stat = statSync(target, { throwIfNoEntry: false });
    this.path = stat?.isDirectory() === true ? join(target, name) : target;
    const there = statSync(this.path, { throwIfNoEntry: false });
    if (there !== undefined && !there.isFile()) {
      throw new OciNixError("output", `${this.path} is no regular file: a disk image is not written to it`, {
        hint: "write it to a file and copy that",
      });
    }
    const directory = dirname(this.path);
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new OciNixError("not-found", `there is no directory ${directory} to write to`, { hint: "make it first" });
    }
    removeLeftovers(directory);
  }

  /** Makes a file of zeros that takes no space. @throws OciNixError `output` */
  makeRaw(size: number): string {
    const file = this.newName();
    try {
      const fd = openSync(file, "wx", 0o644);
      try {
        ftruncateSync(fd, size);
      } finally {
        closeSync(fd);
      }
      return file;
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  /** A name for a file beside it. */
  newName(): string {
    const file = temporaryName(dirname(this.path));
    this.#files.push(file);
    return file;
  }

  /** Gives a whole file the name. @throws OciNixError `output` */
  commit(file: string): void {
    try {
      const fd = openSync(file, "r+");
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(file, this.path);
      syncDirectory(dirname(this.path));
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  /** Removes what has no name. */
  discard(): void {
    for (const file of this.#files) rmSync(file, { force: true });
  }
}

/** An error of writing, in which the file's own name stands for its temporary one. */
export function withName(error: unknown, disk: UnnamedDisk): unknown {
  if (errnoOf(error) !== undefined) return cannotWrite(disk.path, error);
  if (!(error instanceof OciNixError)) return error;
  const message = error.message.replaceAll(/\S*\/(\.oci-nix-[0-9a-f]{8}-\d+-[0-9a-f]{12}\.tmp)/g, basename(disk.path));
  return message === error.message
    ? error
    : new OciNixError(error.code, message, { ...(error.hint === undefined ? {} : { hint: error.hint }), cause: error });
}

function cannotWrite(path: string, error: unknown): OciNixError {
  return new OciNixError("output", `cannot write ${path}: ${describeErrno(error)}`, { cause: error });
}
