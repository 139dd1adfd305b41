import { describe, expect, it } from "vitest";
import { planTree } from "../../../../src/disk/ext4/plan.js";
import { entriesOf, type TreeFile, treeFile } from "../../../support/ext4.js";

const plan = (...files: readonly TreeFile[]) => planTree(entriesOf(files));
const file = (path: string, length: number) => treeFile(path, "file", { contents: Buffer.alloc(length) });

describe("planTree", () => {
  it("counts inodes and blocks beside those of an empty file system, and four blocks of lost+found", () => {
    expect(plan()).toMatchObject({ inodes: 0, blocks: 5 });
    expect(plan(treeFile("", "directory"), treeFile("lost+found", "directory"))).toMatchObject({
      inodes: 0,
      blocks: 5,
    });
    expect(plan(file("a", 0), file("b", 1), file("c", 4096), file("d", 4097))).toMatchObject({ inodes: 4, blocks: 9 });
    const links = [59, 60].map((length) => treeFile(`${length}`, "symlink", { target: "t".repeat(length) }));
    expect(plan(...links, treeFile("d", "directory"), treeFile("d/p", "fifo"))).toMatchObject({ inodes: 4, blocks: 7 });
  });

  it("counts a block of extended attributes for each file that has more of them than its inode holds, by its first name", () => {
    const xattrs = (length: number) => new Map([["user.a", "v".repeat(length)]]);
    const empty = plan().blocks;
    expect(plan(treeFile("a", "file", { xattrs: xattrs(68) })).blocks).toBe(empty);
    expect(plan(treeFile("a", "file", { xattrs: xattrs(69) })).blocks).toBe(empty + 1);
    const all = ["", "lost+found", "d"].map((path) => treeFile(path, "directory", { xattrs: xattrs(100) }));
    expect(plan(...all).blocks).toBe(plan(treeFile("d", "directory")).blocks + 3);
    const names = ["a", "b"].map((path) =>
      treeFile(path, "fifo", { xattrs: new Map([["trusted.a", "v".repeat(100)]]) }),
    );
    expect(planTree(entriesOf(names), new Map([["b", "a"]]))).toMatchObject({ inodes: 1, blocks: empty + 1 });
  });

  it("knows the directory of each entry, whatever is listed in between", () => {
    const entries = ["a", "b"].map((path) => treeFile(path, "directory"));
    const found = plan(...entries, treeFile("b/x", "fifo"), treeFile("a/y", "fifo"), treeFile("z", "fifo"));
    expect([...found.parents]).toEqual([0, 0, 3, 2, 0]);
    expect(found.directories.map(({ children }) => children)).toEqual([4, 0, 1, 1]);
  });

  it.each([
    ["a name that is longer than 255 bytes", [treeFile("n".repeat(256), "fifo")], "its name has 256 bytes"],
    ["the name ..", [treeFile("..", "fifo")], "no file has such a name"],
    ["a name with a zero byte", [treeFile("a\0", "fifo")], "no file has such a name"],
    ["an empty name", [treeFile("a", "directory"), treeFile("a/", "fifo")], "no file has such a name"],
    ["a target of 4096 bytes", [treeFile("a", "symlink", { target: "t".repeat(4096) })], "its target has 4096 bytes"],
    ["an empty target", [treeFile("a", "symlink")], "no symlink has such a target"],
    [
      "a file in a directory that is not there",
      [treeFile("a/b", "fifo")],
      "its directory is not in the tree before it",
    ],
    [
      "a file in a symlink",
      [treeFile("a", "symlink", { target: "." }), treeFile("a/b", "fifo")],
      "its directory is not",
    ],
    ["a root that is a file", [treeFile("", "fifo")], "the root must be a directory"],
    ["a lost+found that is a file", [treeFile("lost+found", "fifo")], "ext4 needs a directory of that name"],
    ["a device", [treeFile("d", "block", { device: { major: 4096, minor: 0 } })], "device with the numbers 4096, 0"],
  ])("refuses %s", (_, files, message) => {
    expect(() => plan(...files)).toThrow(
      expect.objectContaining({ code: "invalid-input", message: expect.stringContaining(message) }),
    );
  });
});
