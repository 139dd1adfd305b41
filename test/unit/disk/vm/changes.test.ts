import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { layerOfChanges, readChanges, type TreeChanges } from "../../../../src/disk/vm/changes.js";
import { EntryCursor, type EntryList } from "../../../../src/tar/entry-list.js";
import { runOk } from "../../../support/command.js";
import { entriesOf, type TreeFile, treeFile } from "../../../support/ext4.js";
import { tool } from "../../../support/tools.js";

const file = (path: string, text: string, rest: Partial<TreeFile> = {}) =>
  treeFile(path, "file", { mode: 0o644, contents: Buffer.from(text), ...rest });
const directory = (path: string, rest: Partial<TreeFile> = {}) => treeFile(path, "directory", rest);

function rows(list: EntryList): readonly string[] {
  const found: string[] = [];
  const cursor = new EntryCursor(list);
  while (cursor.next()) {
    const { path, type, size, source, contents } = cursor;
    const text = type === "file" && size > 0 ? (contents ?? readFileSync(source)) : "";
    found.push(`${type} ${path} ${Buffer.from(text).toString()}`.trim());
  }
  return found;
}

describe("the changes of a tree", () => {
  let place: string;
  const at = (name: string) => join(place, name);
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), "changes-"));
    mkdirSync(at("root"), { mode: 0o755 });
  });
  afterEach(() => rmSync(place, { recursive: true, force: true }));

  const write = (path: string, text: string) => {
    mkdirSync(dirname(at(`root/${path}`)), { recursive: true });
    writeFileSync(at(`root/${path}`), text);
    chmodSync(at(`root/${path}`), 0o644);
  };
  /** Reads an archive of what was written, with what is in those directories. */
  const changes = async (lower: EntryList, names: readonly string[], tail = 0): Promise<TreeChanges> => {
    writeFileSync(at("names"), names.map((name) => `./${name}\0`).join(""));
    await runOk(tool("tar"), ["-cf", "a.tar", "--owner=0", "--group=0", "names", "root"], { cwd: place });
    writeFileSync(at("a.tar"), Buffer.alloc(tail), { flag: "a" });
    return await readChanges(at("a.tar"), lower, mkdtempSync(at("files-")).concat("/new"));
  };
  const LOWER = [
    directory(""),
    directory("etc"),
    file("etc/a", "a"),
    file("etc/b", "b"),
    directory("etc/c"),
    file("etc/c/deep", "x"),
    directory("other"),
    file("other/x", "x"),
  ];

  it("are what is new, otherwise or gone, with the directories above", async () => {
    write("etc/a", "A");
    write("etc/b", "b");
    write("etc/new", "new");
    symlinkSync("a", at("root/etc/link"));
    linkSync(at("root/etc/new"), at("root/etc/same"));
    const names = ["etc", "other", "etc/a", "etc/b", "etc/new", "etc/link", "etc/same"];
    const found = await changes(entriesOf(LOWER), names);
    expect(found.removed).toEqual(["etc/c"]);
    expect(rows(layerOfChanges(found))).toEqual([
      "directory etc",
      "file etc/.wh.c",
      "file etc/a A",
      "symlink etc/link",
      "file etc/new new",
      "file etc/same new",
    ]);
  });

  it("are none where what was written is as before", async () => {
    write("etc/a", "a");
    const names = ["etc", "other", "etc/a", "etc/b", "etc/c"];
    expect(await changes(entriesOf(LOWER), names)).toEqual({ entries: [], removed: [] });
  });

  it("are put into the layer that they change", () => {
    const owner = { uid: 0, gid: 0, uname: "", gname: "" };
    const common = { mode: 0o755, owner, size: 0, linkTarget: "", source: "" };
    const found: TreeChanges = {
      entries: [
        { ...common, path: "etc", type: "directory", mode: 0o700 },
        { ...common, path: "etc/c", type: "symlink", linkTarget: "a" },
      ],
      removed: ["etc/a", "other"],
    };
    const layer = layerOfChanges(found, { own: entriesOf(LOWER), isBelow: (path) => path === "other" });
    expect(rows(layer)).toEqual(["directory", "file .wh.other", "directory etc", "file etc/b b", "symlink etc/c"]);
    const cursor = new EntryCursor(layer);
    while (cursor.next() && cursor.path !== "etc");
    expect(cursor.mode).toBe(0o700);
  });

  it("end where the archive does, whatever is left of its disk", async () => {
    write("etc/a", "\0".repeat(3_000_000));
    const names = ["etc", "other", "etc/a", "etc/b", "etc/c"];
    const { entries } = await changes(entriesOf(LOWER), names, 5_000_000);
    expect(entries.map(({ path, size }) => [path, size])).toEqual([
      ["etc", 0],
      ["etc/a", 3_000_000],
    ]);
  });

  it("are an error where the archive is cut off", async () => {
    write("etc/a", "x".repeat(3_000_000));
    await changes(entriesOf(LOWER), []);
    writeFileSync(at("cut.tar"), readFileSync(at("a.tar")).subarray(0, 2_000_000));
    await expect(readChanges(at("cut.tar"), entriesOf(LOWER), at("files"))).rejects.toMatchObject({
      code: "invalid-input",
      message: expect.stringContaining("what the virtual machine wrote is not a complete tar archive"),
    });
  });
});
