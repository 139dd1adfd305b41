import {
  chmodSync,
  constants,
  copyFileSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { resolve } from "node:path";
import { type ByteString, displayBytes, encodeUtf8, fsPath } from "./byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import type { GeneratedObject } from "./generated-object.js";
import { type Contents, sameContents } from "./same-contents.js";
import { temporaryName } from "./temporary.js";

/**
 * Makes objects below a directory that stands for the root, in their order. What is there already is never changed: a directory is
 * kept as it is, with its owner and mode; a file or symlink must be what it would be made as.
 *
 * Everything is checked before anything is made, each object appears whole, and what was made is removed again where something fails.
 *
 * @param directory made where it is missing, and so are directories that are needed but not among the objects
 * @throws OciNixError `conflict` where something else is in an object's place; `output` where one cannot be made
 */
export function writeGeneratedObjects(objects: readonly GeneratedObject[], directory: string): void {
  const absolute = encodeUtf8(resolve(directory));
  const root = absolute === "/" ? "" : absolute;
  const missing: GeneratedObject[] = [];
  const parents = new Set<ByteString>();
  for (const object of objects) {
    for (const parent of parentsOf(object.path)) {
      if (parents.has(parent)) continue;
      parents.add(parent);
      checkDirectory(root + parent);
    }
    if (object.type === "directory") parents.add(object.path);
    if (!isThere(object, root)) missing.push(object);
  }
  const made = new Made();
  try {
    for (const object of missing) {
      const file = root + object.path;
      made.directory(parentOf(file));
      made.object(object, file);
    }
  } catch (error) {
    made.remove();
    throw error;
  }
}

/** `/a`, `/a/b` for `/a/b/c`. */
function parentsOf(path: ByteString): ByteString[] {
  const components = path.split("/").slice(0, -1);
  return components.slice(1).map((_, i) => components.slice(0, i + 2).join("/"));
}

function parentOf(file: ByteString): ByteString {
  return file.slice(0, file.lastIndexOf("/"));
}

function find(file: ByteString): Stats | undefined {
  try {
    return lstatSync(fsPath(file), { throwIfNoEntry: false });
  } catch (error) {
    throw failed(file, error);
  }
}

/** @throws OciNixError `conflict` for a symlink, too: it could lead out of the root, and Nix wants none above its store */
function checkDirectory(file: ByteString): boolean {
  const stat = find(file);
  if (stat === undefined) return false;
  if (!stat.isDirectory()) throw conflict(file, `is ${typeOf(stat)} where a directory is wanted`);
  return true;
}

/** @throws OciNixError `conflict` */
function isThere(object: GeneratedObject, root: ByteString): boolean {
  const file = root + object.path;
  if (object.type === "directory") return checkDirectory(file);
  const stat = find(file);
  if (stat === undefined) return false;
  const { uid, gid } = object.owner;
  if (object.type === "symlink" ? !stat.isSymbolicLink() : !stat.isFile()) {
    throw conflict(file, `is ${typeOf(stat)} where a ${object.type} is wanted`);
  }
  if (!hasContents(object, file, stat)) throw conflict(file, "is there already, with other contents");
  if (stat.uid !== uid || stat.gid !== gid) {
    throw conflict(file, `is there already and belongs to ${stat.uid}:${stat.gid}, not to ${uid}:${gid}`);
  }
  const mode = stat.mode & 0o7777;
  if (object.type === "file" && mode !== object.mode) {
    throw conflict(file, `is there already with mode ${octal(mode)}, not ${octal(object.mode)}`);
  }
  return true;
}

function hasContents(object: GeneratedObject, file: ByteString, stat: Stats): boolean {
  try {
    switch (object.type) {
      case "directory":
        return true;
      case "file":
        return sameContents(contentsOf(object), { source: file, size: stat.size });
      case "symlink":
        return readlinkSync(fsPath(file), "latin1") === object.linkTarget;
    }
  } catch (error) {
    throw failed(file, error);
  }
}

/** What was made, to be taken back. */
class Made {
  readonly #files: { readonly file: ByteString; readonly isDirectory: boolean }[] = [];
  readonly #directories = new Set<ByteString>();

  /** A directory that is nobody's in particular, and those above it, where there are none. */
  directory(file: ByteString): void {
    if (file === "" || this.#directories.has(file)) return;
    this.#directories.add(file);
    if (find(file) !== undefined) return;
    this.directory(parentOf(file));
    try {
      mkdirSync(fsPath(file));
      this.#files.push({ file, isDirectory: true });
      chmodSync(fsPath(file), 0o755);
    } catch (error) {
      throw failed(file, error);
    }
  }

  object(object: GeneratedObject, file: ByteString): void {
    const isDirectory = object.type === "directory";
    const temporary = temporaryName(parentOf(file));
    try {
      this.#make(object, temporary, file);
      renameSync(fsPath(temporary), fsPath(file));
    } catch (error) {
      throw error instanceof OciNixError ? error : failed(file, error);
    }
    this.#files[this.#files.length - 1] = { file, isDirectory };
  }

  /** @param file the name that it gets at last */
  #make(object: GeneratedObject, temporary: ByteString, file: ByteString): void {
    const name = fsPath(temporary);
    switch (object.type) {
      case "directory":
        mkdirSync(name);
        break;
      case "file":
        if ("copyOf" in object)
          copyFileSync(fsPath(object.copyOf), name, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        else writeFileSync(name, object.contents, { flag: "wx" });
        break;
      case "symlink":
        symlinkSync(fsPath(object.linkTarget), name);
        break;
    }
    this.#files.push({ file: temporary, isDirectory: object.type === "directory" });
    this.#own(object, temporary, file);
    // After the owner, whose change clears setuid and setgid.
    if (object.type !== "symlink") chmodSync(name, object.mode);
  }

  /** Only where it is not so already, so that a user can make what is to be the user's own. */
  #own({ owner: { uid, gid } }: GeneratedObject, temporary: ByteString, file: ByteString): void {
    const stat = lstatSync(fsPath(temporary));
    if (stat.uid === uid && stat.gid === gid) return;
    try {
      lchownSync(fsPath(temporary), uid, gid);
    } catch (error) {
      throw new OciNixError(
        "output",
        `${displayBytes(file)} cannot be given to ${uid}:${gid}, the user ${stat.uid}:${stat.gid} may not do that: ${describeErrno(error)}`,
        { hint: `run it as root, or let the files belong to ${stat.uid}:${stat.gid} (--uid, --gid)`, cause: error },
      );
    }
  }

  /** As far as it goes: the error that led here is what matters. */
  remove(): void {
    for (const { file, isDirectory } of this.#files.reverse()) {
      try {
        if (isDirectory) rmdirSync(fsPath(file));
        else unlinkSync(fsPath(file));
      } catch {
        // Somebody else's file is in it by now, or it is gone.
      }
    }
  }
}

function contentsOf(object: Extract<GeneratedObject, { type: "file" }>): Contents {
  if ("copyOf" in object) return { source: object.copyOf, size: object.size };
  return { source: object.path, size: object.contents.length, contents: object.contents };
}

function typeOf(stat: Stats): string {
  if (stat.isSymbolicLink()) return "a symlink";
  return stat.isDirectory() ? "a directory" : stat.isFile() ? "a file" : "neither file, directory nor symlink";
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

function conflict(file: ByteString, what: string): OciNixError {
  return new OciNixError("conflict", `${displayBytes(file)} ${what}: nothing was written`, {
    hint: "write to another directory, or move it away first",
  });
}

function failed(file: ByteString, error: unknown): OciNixError {
  const code = errnoOf(error) === "ENOTDIR" ? "conflict" : "output";
  return new OciNixError(code, `cannot write ${displayBytes(file)}: ${describeErrno(error)}`, { cause: error });
}
