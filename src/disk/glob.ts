import { lstatSync, readdirSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import { compareStrings, describeErrno, OciNixError } from "../core/errors.js";

const SPECIAL = /[*?[]/;

/** Whether a source stands for several. */
export function isGlob(source: ByteString): boolean {
  return SPECIAL.test(source);
}

/**
 * What an absolute pattern stands for, sorted: `*` and `?` match no slash, and no dot that a name begins with; `[…]` one of some bytes, `[!…]` one
 * of all others.
 * @throws OciNixError `unreadable` where a directory cannot be listed
 */
export function globPaths(pattern: ByteString): readonly ByteString[] {
  let found: ByteString[] = [""];
  for (const component of pattern.split("/").filter((name) => name !== "")) {
    if (!SPECIAL.test(component)) found = found.map((path) => `${path}/${component}`).filter(exists);
    else found = found.flatMap((path) => matching(path, component));
  }
  return found.sort(compareStrings);
}

function matching(directory: ByteString, component: ByteString): ByteString[] {
  const regex = new RegExp(`^${regexOf(component)}$`, "s");
  return namesIn(directory === "" ? "/" : directory)
    .filter((name) => (component.startsWith(".") || !name.startsWith(".")) && regex.test(name))
    .map((name) => `${directory}/${name}`);
}

function regexOf(component: string): string {
  return component.replace(/\[(!?)(\]?[^\]]*)\]|[*?]|[\\^$.|+(){}[\]]/g, (token, not?: string, members?: string) => {
    if (token === "*") return ".*";
    if (token === "?") return ".";
    if (members === undefined || members === "") return `\\${token.split("").join("\\")}`;
    return `[${not === "!" ? "^" : ""}${members.replace(/[\\\]^[]/g, "\\$&")}]`;
  });
}

function namesIn(directory: ByteString): readonly ByteString[] {
  try {
    return readdirSync(fsPath(directory), { encoding: "latin1" });
  } catch (error) {
    const stat = lstatSync(fsPath(directory), { throwIfNoEntry: false });
    if (stat?.isDirectory() !== true) return [];
    throw new OciNixError("unreadable", `cannot list ${displayBytes(directory)}: ${describeErrno(error)}`, {
      cause: error,
    });
  }
}

function exists(path: ByteString): boolean {
  try {
    return lstatSync(fsPath(path), { throwIfNoEntry: false }) !== undefined;
  } catch {
    // Something on the way is no directory, or says nothing of what is in it.
    return false;
  }
}
