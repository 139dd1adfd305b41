import { copyFileSync, lstatSync, readdirSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describeErrno, OciNixError } from "../core/errors.js";
import { syncDirectory } from "../core/output-file.js";
import { makeTemporaryDirectory, type TemporaryDirectory } from "../core/temporary.js";

/** What lies beside a disk image at last. */
export interface PublishedImage {
  /** The image's file; undefined where a script has put something else in its place. */
  readonly file: string | undefined;
  /** Files and directories that came with it, by name. */
  readonly companions: readonly string[];
}

/** A directory in which a disk image, and what comes with it, wait for their names. It is beside the image's place, and not to stay. */
export class Companions {
  readonly #directory: TemporaryDirectory;
  readonly #path: string;

  /** @param path where the image goes */
  constructor(path: string) {
    this.#path = path;
    this.#directory = makeTemporaryDirectory(dirname(path));
  }

  get directory(): string {
    return this.#directory.path;
  }

  /** Where the image is to be put. */
  get image(): string {
    return join(this.directory, basename(this.#path));
  }

  /** Adds the copy of a file. @throws OciNixError `output` */
  add(file: string, name: string): void {
    try {
      copyFileSync(file, join(this.directory, name));
    } catch (error) {
      throw cannotPut(name, error);
    }
  }

  /**
   * Gives all that is there its name beside the image. An image that is there is replaced; nothing else is.
   * @throws OciNixError `conflict` before anything has its name; `output`
   */
  publish(): PublishedImage {
    const directory = dirname(this.#path);
    const image = basename(this.#path);
    const names = readdirSync(this.directory).sort();
    const others = names.filter((name) => name !== image);
    for (const name of others) checkNoCompanion(this.#path, name);
    const moved: string[] = [];
    try {
      for (const name of [...others, ...names.filter((each) => each === image)]) {
        renameSync(join(this.directory, name), join(directory, name));
        moved.push(name);
      }
    } catch (error) {
      for (const name of moved) renameSync(join(directory, name), join(this.directory, name));
      throw cannotPut(image, error);
    }
    syncDirectory(directory);
    return {
      file: names.includes(image) ? this.#path : undefined,
      companions: others.map((name) => join(directory, name)),
    };
  }

  /** Removes what has no name. */
  discard(): void {
    this.#directory.remove();
  }
}

/** @throws OciNixError `conflict` where something of that name is beside the image */
export function checkNoCompanion(path: string, name: string): void {
  const file = join(dirname(path), name);
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) return;
  throw new OciNixError("conflict", `${file} is there already, and would come with ${path}`, {
    hint: "move it away, or write the image to another directory",
  });
}

function cannotPut(name: string, error: unknown): OciNixError {
  return new OciNixError("output", `cannot put ${name} beside the disk image: ${describeErrno(error)}`, {
    cause: error,
  });
}
