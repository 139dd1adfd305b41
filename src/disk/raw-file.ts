import { ftruncateSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { createFile, descriptorNamed, followLinks, type NewFile } from "../core/output-file.js";
import { removeLeftovers } from "../core/temporary.js";

/**
 * The file that a disk image becomes.
 * @param to the file, or a directory that `name` goes to
 * @throws OciNixError `usage` for what names no file; `output` where it is something else than a file, or cannot be looked at; `not-found` where there is no
 *   such directory
 */
export function diskFile(to: string, name: string): string {
  if (to === "" || to === "-" || descriptorNamed(to) !== undefined) {
    const what = to === "" ? "an empty name" : "standard output or another descriptor";
    throw new OciNixError("usage", `a disk image is not written to ${what}`, { hint: "name a file or a directory" });
  }
  const target = followLinks(to);
  if (to.endsWith("/") && typeOf(target) !== "directory") throw noDirectory(target);
  const path = typeOf(target) === "directory" ? join(target, name) : target;
  const type = typeOf(path);
  if (type === "directory" || type === "other") {
    const what = type === "directory" ? "a directory" : "no regular file";
    throw new OciNixError("output", `${path} is ${what}: a disk image is not written to it`, {
      hint: "write it to a file, and copy that",
    });
  }
  if (typeOf(dirname(path)) !== "directory") throw noDirectory(dirname(path));
  removeLeftovers(dirname(path));
  return path;
}

/** Makes a file of zeros, which take no space, beside a disk image. @throws OciNixError `output` */
export function makeRawFile(path: string, size: number): NewFile {
  const file = createFile(dirname(path));
  try {
    ftruncateSync(file.fd, size);
    return file;
  } catch (error) {
    file.discard();
    throw cannotWrite(path, error);
  }
}

/** An error, in which the image's own name stands for temporary ones. */
export function withName(error: unknown, path: string): unknown {
  if (!(error instanceof OciNixError)) return errnoOf(error) === undefined ? error : cannotWrite(path, error);
  const message = error.message.replace(
    /\/[^\s?@]*\/\.oci-nix-[0-9a-f]{8}-\d+-[0-9a-f]{12}\.tmp(?:\/\.oci-nix-[0-9a-f]{8}-\d+-[0-9a-f]{12}\.tmp)?/g,
    // A `$` in it is no pattern.
    () => path,
  );
  if (message === error.message) return error;
  return new OciNixError(error.code, message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}

function typeOf(path: string): "file" | "directory" | "other" | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    return stat.isFile() ? "file" : stat.isDirectory() ? "directory" : "other";
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function noDirectory(path: string): OciNixError {
  return new OciNixError("not-found", `there is no directory ${path} to write to`, { hint: "make it first" });
}

function cannotWrite(path: string, error: unknown): OciNixError {
  return new OciNixError("output", `cannot write ${path}: ${describeErrno(error)}`, { cause: error });
}
