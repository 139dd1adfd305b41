import { describe, expect, it } from "vitest";
import { EntryCursor, EntryList, type NewEntry } from "../../../src/tar/entry-list.js";

const entry = (name: string, value?: string): NewEntry => ({
  depth: 0,
  name,
  type: "fifo",
  mode: 0o644,
  owner: { uid: 0, gid: 0, uname: "", gname: "" },
  size: 0,
  linkTarget: "",
  xattrs: value === undefined ? undefined : new Map([["user.a", value]]),
});

function listOf(...entries: readonly NewEntry[]): EntryList {
  const list = new EntryList();
  for (const each of entries) list.append(each);
  return list;
}

function found(list: EntryList): readonly (readonly [string, string | undefined])[] {
  const all: [string, string | undefined][] = [];
  for (const cursor = new EntryCursor(list); cursor.next(); ) all.push([cursor.path, cursor.xattrs?.get("user.a")]);
  return all;
}

describe("extended attributes in a list of entries", () => {
  it("are those of their entry alone", () => {
    expect(found(listOf(entry("a"), entry("b", "1"), entry("c"), entry("d", "2")))).toEqual([
      ["a", undefined],
      ["b", "1"],
      ["c", undefined],
      ["d", "2"],
    ]);
  });

  it("stay with it where lists are joined, and in another thread", () => {
    const parts = [listOf(entry("a"), entry("b", "1")), listOf(entry("c", "2")), listOf(entry("d"))].map((list) =>
      structuredClone(list.parts),
    );
    expect(found(EntryList.join(parts))).toEqual([
      ["a", undefined],
      ["b", "1"],
      ["c", "2"],
      ["d", undefined],
    ]);
  });
});
