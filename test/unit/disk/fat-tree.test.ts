import { describe, expect, it } from "vitest";
import { fatTree } from "../../../src/disk/fat-tree.js";

const tree = (...paths: readonly string[]) => fatTree(paths.map((path) => ({ path, contents: new Uint8Array() })));

describe("the files of a FAT file system", () => {
  it("bring the directories that they are in", () => {
    const { files, directories } = tree("/EFI/BOOT/BOOTX64.EFI", "EFI/nixos/a-name-of-26-bytes0.initrd", "loader.conf");
    expect([...files.keys()]).toEqual(["EFI/BOOT/BOOTX64.EFI", "EFI/nixos/a-name-of-26-bytes0.initrd", "loader.conf"]);
    expect(Object.fromEntries(directories)).toEqual({ "": 1 + 2 + 2, EFI: 2 + 2 + 2, "EFI/BOOT": 4, "EFI/nixos": 5 });
  });

  it("have names that FAT, DOS and mtools can have", () => {
    const good = ["a b", "x;y=z,+.conf", ".hidden", "{a}~1", "console", "-a", "it's", "a".repeat(255)];
    expect(() => tree(...good)).not.toThrow();
    const bad = [
      "",
      "a*",
      "a?",
      "a[b]",
      "a\\b",
      "c:",
      'a"',
      "a.",
      "a ",
      "é",
      "a\n",
      "\x7f",
      "con",
      "COM1.txt",
      "..",
      "a".repeat(256),
    ];
    for (const name of bad) expect(() => tree(`EFI/${name}`), name).toThrow("cannot be on a FAT file system");
    expect(() => tree("a//b")).toThrow('because of ""');
  });

  it("are told apart in any case", () => {
    expect(() => tree("EFI/a", "efi/b")).toThrow("EFI and efi are one name to a FAT file system");
    expect(() => tree("a/X", "a/x")).toThrow("a/X and a/x are one name");
    expect(() => tree("a/x", "/a/x")).toThrow("a/x is there twice");
    expect(() => tree("a/x", "a")).toThrow("a is a file and a directory");
    expect(() => tree("a", "a/x")).toThrow("a is a file and a directory");
  });
});
