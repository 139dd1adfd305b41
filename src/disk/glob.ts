import { lstatSync, readdirSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import { compareStrings, describeErrno, OciNixError } from "../core/errors.js";

const SPECIAL = /[*?[]/;

/** Whether a source stands for several. */
export function isGlob(source: ByteString): boolean {
  return SPECIAL.test(source);
}

/**
 * What an absolute pattern stands for, sorted: `*` and `?` match no slash, and no dot that a name begins with; `[…]` one of some bytes or ranges,
 * `[!…]` one of all others.
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
  const pattern = tokensOf(component);
  return namesIn(directory === "" ? "/" : directory)
    .filter((name) => (component.startsWith(".") || !name.startsWith(".")) && matches(pattern, name))
    .map((name) => `${directory}/${name}`);
}

/** What one byte of a name has to be; undefined stands for any number of bytes. */
type Token = ((byte: string) => boolean) | undefined;

function tokensOf(component: string): readonly Token[] {
  const tokens: Token[] = [];
  const lastEnd = component.lastIndexOf("]");
  for (let at = 0; at < component.length; at++) {
    const byte = component[at] as string;
    const isNegated = component[at + 1] === "!";
    const start = at + (isNegated ? 2 : 1);
    // A bracket that comes first is one of the bytes.
    const end = byte === "[" && start < lastEnd ? component.indexOf("]", start + 1) : -1;
    if (end !== -1) {
      const members = bytesOf(component.slice(start, end));
      tokens.push((found) => members.has(found) !== isNegated);
      at = end;
    } else if (byte === "*") tokens.push(undefined);
    else if (byte === "?") tokens.push(() => true);
    else tokens.push((found) => found === byte);
  }
  return tokens;
}

/** Bytes by themselves, and ranges of them. */
function bytesOf(members: string): ReadonlySet<string> {
  const bytes = new Set<string>();
  for (let at = 0; at < members.length; at++) {
    bytes.add(members[at] as string);
    if (members[at + 1] !== "-" || at + 2 >= members.length) continue;
    for (let code = members.charCodeAt(at); code <= members.charCodeAt(at + 2); code++) {
      bytes.add(String.fromCharCode(code));
    }
    at += 2;
  }
  return bytes;
}

/** Goes back to the last `*` only: what an earlier one took need not change. So it takes the product of both lengths at most. */
function matches(pattern: readonly Token[], name: ByteString): boolean {
  let at = 0;
  let token = 0;
  let star: { readonly token: number; at: number } | undefined;
  while (at < name.length) {
    const test = pattern[token];
    if (token < pattern.length && test === undefined) star = { token: ++token, at };
    else if (test?.(name[at] as string) === true) {
      at++;
      token++;
    } else if (star !== undefined) {
      at = ++star.at;
      token = star.token;
    } else return false;
  }
  return pattern.slice(token).every((rest) => rest === undefined);
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
