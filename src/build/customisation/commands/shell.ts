import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../../../core/errors.js";

const MAX_LINKS = 40;

/** A shell as the commands see it. */
export interface Shell {
  readonly path: string;
  /** How it is to run the commands: so that the first that fails ends them. */
  readonly options: readonly string[];
}

/**
 * The shell of the commands: bash, else sh, of the first directory that has one.
 * @param path directories as the commands see them
 * @param placeOf where a path of theirs is on this machine; undefined where they see nothing
 * @param where names the commands, for the error
 * @throws OciNixError `not-found`
 */
export function findShell(
  path: readonly string[],
  placeOf: (path: string) => string | undefined,
  where: string,
): Shell {
  for (const [name, options] of [
    // As in nixpkgs' stdenv, where dockerTools runs them.
    ["bash", ["-e", "-o", "pipefail"]],
    ["sh", ["-e"]],
  ] as const) {
    const directory = path.find((each) => isProgram(join(each, name), placeOf));
    if (directory !== undefined) return { path: join(directory, name), options };
  }
  throw new OciNixError("not-found", `${where}: neither bash nor sh is in ${path.join(", ")}`, {
    hint: "say in commandPath (--command-path) which directories have the programs, for example /nix/store/…-bash/bin",
  });
}

/** Whether a file is there that can be run, whatever symlinks lead to it. */
function isProgram(path: string, placeOf: (path: string) => string | undefined): boolean {
  const left = path.split("/").reverse();
  let at = "";
  let links = 0;
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = at.slice(0, Math.max(at.lastIndexOf("/"), 0));
      continue;
    }
    const next = `${at}/${name}`;
    const place = placeOf(next);
    const stat = place === undefined ? undefined : lstatSync(place, { throwIfNoEntry: false });
    if (place === undefined || stat === undefined) return false;
    if (stat.isSymbolicLink()) {
      if (++links > MAX_LINKS) return false;
      const target = readlinkSync(place);
      if (target.startsWith("/")) at = "";
      left.push(...target.split("/").reverse());
    } else {
      at = next;
      if (left.every((rest) => rest === "" || rest === ".")) return stat.isFile() && (stat.mode & 0o111) !== 0;
      if (!stat.isDirectory()) return false;
    }
  }
  return false;
}
