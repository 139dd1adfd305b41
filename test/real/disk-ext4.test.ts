import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkExt4, ext4Of, linesOf, mountedFiles, treeFile } from "../support/ext4.js";
import { requireTools } from "../support/tools.js";

const MIB = 1024 * 1024;
const LIMIT_MS = 120_000;

describe.skipIf(requireTools("mke2fs", "e2fsck", "mount", "root"))("an ext4 file system in a region of a file", () => {
  let directory: string;
  const path = (name: string) => join(directory, name);
  const bytes = (length: number, seed: number) =>
    Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed + (i >> 8)) & 0xff));
  const random = (length: number) => Buffer.alloc(length, bytes(Math.min(length, 65_521), (length % 251) + 1));

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-ext4-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it(
    "holds every type of file as the kernel and e2fsck see it",
    async () => {
      const files = [
        treeFile("", "directory", { mode: 0o751, uid: 7, gid: 8 }),
        treeFile("etc", "directory", { mode: 0o1777, uid: 70_000, gid: 80_000 }),
        treeFile("etc/hostname", "file", { mode: 0o4711, uid: 4_000_000_000, contents: Buffer.from("nixos\n") }),
        treeFile("etc/empty", "file", { mode: 0, gid: 4_000_000_001 }),
        treeFile("etc/block", "file", { contents: random(4096) }),
        treeFile("etc/big", "file", { contents: random(9 * MIB + 17) }),
        treeFile("etc/short", "symlink", { target: "a".repeat(59) }),
        treeFile("etc/long", "symlink", { target: "b".repeat(60), uid: 5 }),
        treeFile("etc/longest", "symlink", { target: "c".repeat(4095) }),
        treeFile("etc/odd", "symlink", { target: 'a "b"\n\xff' }),
        treeFile("etc/null", "character", { device: { major: 1, minor: 3 }, mode: 0o666 }),
        treeFile("etc/disk", "block", { device: { major: 300, minor: 70_000 }, mode: 0o660 }),
        treeFile("etc/pipe", "fifo", { mode: 0o600 }),
        treeFile('etc/"quoted"', "file"),
        treeFile("etc/new\nline\r", "file", { contents: Buffer.from("x") }),
        treeFile("etc/\xff\xfe \\", "directory"),
        treeFile(`etc/\xff\xfe \\/${"n".repeat(255)}`, "file"),
        treeFile("-f", "directory", { mode: 0o500 }),
        treeFile("-f/#", "directory"),
      ];
      const region = await ext4Of(path("disk"), files, 64 * MIB);
      await checkExt4(region);
      expect(await mountedFiles(region)).toEqual(linesOf(files));
    },
    LIMIT_MS,
  );

  it(
    "holds directories of many blocks and many subdirectories, and entries in any order that has parents first",
    async () => {
      const files = [
        treeFile("many", "directory"),
        ...Array.from({ length: 3000 }, (_, i) => treeFile(`many/${"n".repeat(i % 200)}${i}`, "fifo")),
        treeFile("crowd", "directory"),
        treeFile("a", "directory"),
        ...Array.from({ length: 1500 }, (_, i) => treeFile(`crowd/${i}`, "directory")),
        treeFile("a/late", "fifo"),
        treeFile("crowd/7/late", "fifo"),
      ];
      const region = await ext4Of(path("disk"), files, 128 * MIB);
      await checkExt4(region);
      expect(await mountedFiles(region)).toEqual(linesOf(files));
    },
    LIMIT_MS,
  );

  it(
    "stores no blocks of zeros, and counts the others right where a file has more pieces than an inode has room for",
    async () => {
      const holes = Buffer.alloc(4 * MIB);
      for (let at = 0; at < holes.length; at += 8192) holes[at + 4095] = 1;
      const files = [
        treeFile("holes", "file", { contents: holes }),
        treeFile("zeros", "file", { contents: Buffer.alloc(8 * MIB + 1) }),
        treeFile("end", "file", { contents: Buffer.concat([Buffer.alloc(5000), Buffer.from([1])]) }),
      ];
      const region = await ext4Of(path("disk"), files, 16 * MIB);
      expect(await checkExt4(region)).toMatch(/Extent depth histogram: \d+\/1/);
      expect(await mountedFiles(region)).toEqual(linesOf(files));
    },
    LIMIT_MS,
  );
});
