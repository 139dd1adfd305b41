import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { findOnPath } from "../../core/process.js";

/**
 * A directory of files that a program on the PATH has come with, wherever both are: that of nixpkgs has its own below its store path.
 * @param directory below the directory that the program's `bin` is in
 * @returns where Debian has it, if it is not beside the program
 */
export function installedDirectory(program: string, directory: string): string {
  const debian = join("/usr", directory);
  const file = findOnPath(program);
  if (file === undefined) return debian;
  const beside = join(dirname(dirname(realpathSync(file))), directory);
  return existsSync(beside) ? beside : debian;
}
