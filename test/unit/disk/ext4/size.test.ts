import { describe, expect, it } from "vitest";
import { ext4Bytes } from "../../../../src/disk/ext4/size.js";
import { entriesOf, treeFile } from "../../../support/ext4.js";

describe("ext4Bytes", () => {
  it("counts blocks of files and symlinks, two blocks for every file and the root, and 5.2 %", () => {
    expect(ext4Bytes(entriesOf([]))).toBe(8192 + 425);
    const files = [
      treeFile("", "directory"),
      treeFile("d", "directory"),
      treeFile("d/f", "file", { contents: Buffer.alloc(4097) }),
      treeFile("d/l", "symlink", { target: "x" }),
      treeFile("d/p", "fifo"),
    ];
    const bytes = (3 + 2 * 5) * 4096;
    expect(ext4Bytes(entriesOf(files))).toBe(bytes + Math.floor(bytes * 0.052));
  });

  it("counts a block of extended attributes as one of a file", () => {
    const files = (length: number) => [
      treeFile("d", "directory", { xattrs: new Map([["user.a", "v".repeat(length)]]) }),
    ];
    const bytes = (1 + 2 * 2) * 4096;
    expect(ext4Bytes(entriesOf(files(69)))).toBe(bytes + Math.floor(bytes * 0.052));
    expect(ext4Bytes(entriesOf(files(68)))).toBeLessThan(bytes);
  });
});
