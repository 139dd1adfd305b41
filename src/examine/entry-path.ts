import { type ByteString, displayBytes } from "../core/byte-string.js";

/** Longest path that Linux takes, in bytes. */
export const MAX_PATH = 4095;

/** Longest component of a path that Linux takes, in bytes. */
const MAX_COMPONENT = 255;

export function isTooLong(path: ByteString): boolean {
  if (path.length > MAX_PATH) return true;
  return path.length > MAX_COMPONENT && path.split("/").some((component) => component.length > MAX_COMPONENT);
}

/** A name for messages, cut where it is absurdly long. */
export function shownName(name: ByteString): string {
  return displayBytes(name.length <= 300 ? name : `${name.slice(0, 300)}...`);
}

/**
 * Where an entry of a layer goes, relative to the root: no `.`, no empty component, no slash at either end; empty for the root itself.
 * Undefined where a component is `..`.
 */
export function entryPath(name: ByteString): ByteString | undefined {
  if (!/(?:^|\/)\.{0,2}(?:\/|$)/.test(name)) return name;
  const components = name.split("/").filter((component) => component !== "" && component !== ".");
  return components.includes("..") ? undefined : components.join("/");
}

/** All that `path` lies in, the nearest to the root first; the root itself is left out. */
export function* parentsOf(path: ByteString): Generator<ByteString, void, void> {
  for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) yield path.slice(0, slash);
}

export function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function baseOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** What a name says about lower layers. image-spec, "Whiteouts". */
type Whiteout =
  | { readonly hides: "path" | "contents"; readonly path: ByteString }
  | { readonly hides: "nothing"; readonly reason: string };

const PREFIX = ".wh.";

/** The whiteout that an entry is; undefined for any other entry. */
export function whiteoutOf(path: ByteString): Whiteout | undefined {
  if (!path.includes(PREFIX)) return undefined;
  const base = baseOf(path);
  const parent = parentOf(path);
  if (parent.split("/").some((component) => component.startsWith(PREFIX))) {
    return { hides: "nothing", reason: "it lies in a whiteout" };
  }
  if (!base.startsWith(PREFIX)) return undefined;
  const target = base.slice(PREFIX.length);
  if (target === ".wh..opq") return { hides: "contents", path: parent };
  if (target.startsWith(PREFIX)) return { hides: "nothing", reason: "it is one of AUFS's own files" };
  if (target === "" || target === "." || target === "..") return { hides: "nothing", reason: "it names no file" };
  return { hides: "path", path: parent === "" ? target : `${parent}/${target}` };
}
