import type { ByteString } from "../../core/byte-string.js";
import { compareStrings } from "../../core/errors.js";
import { type EntryCursor, EntryList, type NewEntry } from "../../tar/entry-list.js";

/** An entry of a tree by its path instead of its place in a list. */
export interface TreeEntry extends Omit<NewEntry, "depth" | "name"> {
  readonly path: ByteString;
}

/** The entry that a cursor is at. */
export function entryAt(cursor: EntryCursor): TreeEntry {
  const { path, type, mode, owner, size, linkTarget, source, contents } = cursor;
  const device = type === "character" || type === "block" ? cursor.device : undefined;
  return { path, type, mode, owner, size, linkTarget, device, ...(contents === undefined ? { source } : { contents }) };
}

/** Entries, with the directories above each, as a list: by path component, the root first where there is one. */
export function entryListOf(entries: readonly TreeEntry[]): EntryList {
  const sorted = [...entries].sort((a, b) => byComponent(a.path, b.path));
  const above = sorted[0]?.path === "" ? 1 : 0;
  const list = new EntryList();
  for (const { path, ...entry } of sorted) {
    const depth = path === "" ? 0 : path.split("/").length - 1 + above;
    list.append({ ...entry, depth, name: path.slice(path.lastIndexOf("/") + 1) });
  }
  return list;
}

/** A directory before what is in it. */
export function byComponent(a: ByteString, b: ByteString): number {
  return compareStrings(a.replaceAll("/", "\0"), b.replaceAll("/", "\0"));
}
