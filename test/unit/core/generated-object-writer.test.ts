import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { GeneratedObject } from "../../../src/core/generated-object.js";
import { writeGeneratedObjects } from "../../../src/core/generated-object-writer.js";

const isRoot = process.getuid?.() === 0;
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, uname: "", gname: "" };
const NAME = Buffer.from("caf\xe9", "latin1").toString("latin1");

const tree: readonly GeneratedObject[] = [
  { path: "/a", type: "directory", mode: 0o1775, owner },
  { path: `/a/${NAME}`, type: "symlink", mode: 0o777, owner, linkTarget: NAME },
  { path: "/a/file", type: "file", mode: 0o604, owner, contents: Buffer.from("text") },
  { path: "/b/c/d", type: "file", mode: 0o644, owner, contents: Buffer.alloc(0) },
];

describe("writeGeneratedObjects", () => {
  let directory: string;
  let to: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "generated-"));
    to = join(directory, "x/y");
    return () => rmSync(directory, { recursive: true, force: true });
  });

  const listing = () =>
    (readdirSync(directory, { recursive: true, encoding: "latin1" }) as string[]).sort().map((name) => {
      const stat = lstatSync(Buffer.from(join(directory, name), "latin1"));
      return `${(stat.mode & 0o7777).toString(8)} ${name}`;
    });

  it("makes objects as they are, whatever the umask, and directories that are needed besides", () => {
    const umask = process.umask(0o077);
    try {
      writeGeneratedObjects(tree, to);
    } finally {
      process.umask(umask);
    }
    expect(listing()).toEqual([
      "755 x",
      "755 x/y",
      "1775 x/y/a",
      `777 x/y/a/${NAME}`,
      "604 x/y/a/file",
      "755 x/y/b",
      "755 x/y/b/c",
      "644 x/y/b/c/d",
    ]);
    expect(readFileSync(join(to, "a/file"), "utf8")).toBe("text");
    expect(readlinkSync(Buffer.from(`${to}/a/${NAME}`, "latin1"), "latin1")).toBe(NAME);
  });

  it("copies files, and knows a copy again", () => {
    const copyOf = join(directory, "original");
    writeFileSync(copyOf, "same", { mode: 0o600 });
    const copy: GeneratedObject = { path: "/copy", type: "file", mode: 0o444, owner, copyOf, size: 4 };
    writeGeneratedObjects([copy], to);
    writeGeneratedObjects([copy], to);
    expect(readFileSync(join(to, "copy"), "utf8")).toBe("same");
    expect(lstatSync(join(to, "copy")).mode & 0o7777).toBe(0o444);
    writeFileSync(copyOf, "else");
    expect(() => writeGeneratedObjects([copy], to)).toThrow("is there already, with other contents");
  });

  it("leaves what is there as it is, and makes the rest", () => {
    writeGeneratedObjects(tree, to);
    rmSync(join(to, "b"), { recursive: true });
    chmodSync(join(to, "a"), 0o700);
    const before = lstatSync(join(to, "a/file")).ino;
    writeGeneratedObjects(tree, to);
    expect(lstatSync(join(to, "a/file")).ino).toBe(before);
    expect(lstatSync(join(to, "a")).mode & 0o7777).toBe(0o700);
    expect(existsSync(join(to, "b/c/d"))).toBe(true);
  });

  it.each<[string, () => void, string]>([
    [
      "a file of other contents",
      () => writeFileSync(join(to, "b/c/d"), "x"),
      "b/c/d is there already, with other contents",
    ],
    [
      "a file of another mode",
      () => {
        writeFileSync(join(to, "b/c/d"), "");
        chmodSync(join(to, "b/c/d"), 0o600);
      },
      "b/c/d is there already with mode 0600, not 0644",
    ],
    [
      "a directory in a file's place",
      () => mkdirSync(join(to, "b/c/d")),
      "b/c/d is a directory where a file is wanted",
    ],
    [
      "a file in a directory's place",
      () => writeFileSync(join(to, "a"), ""),
      "a is a file where a directory is wanted",
    ],
    [
      "a symlink in a directory's place",
      () => symlinkSync(join(directory, "elsewhere"), join(to, "a")),
      "a is a symlink where a directory is wanted",
    ],
    [
      "a symlink in an unnamed directory's place",
      () => {
        rmSync(join(to, "b"), { recursive: true });
        symlinkSync(join(directory, "elsewhere"), join(to, "b"));
      },
      "b is a symlink where a directory is wanted",
    ],
  ])("refuses %s and makes nothing", (_, make, message) => {
    mkdirSync(join(to, "b/c"), { recursive: true });
    mkdirSync(join(directory, "elsewhere"));
    make();
    const before = listing();
    expect(() => writeGeneratedObjects(tree, to)).toThrowError(
      expect.objectContaining({ code: "conflict", message: expect.stringContaining(message) }),
    );
    expect(listing()).toEqual(before);
  });

  it("refuses a root that is a file", () => {
    mkdirSync(join(directory, "x"));
    writeFileSync(to, "");
    expect(() => writeGeneratedObjects(tree, to)).toThrowError("a parent is not a directory");
    expect(readFileSync(to, "utf8")).toBe("");
  });

  it("removes what it made where something fails on the way", () => {
    const late: GeneratedObject = { path: "/a/file/below", type: "directory", mode: 0o755, owner };
    expect(() => writeGeneratedObjects([...tree, late], to)).toThrowError("cannot write");
    expect(readdirSync(directory)).toEqual([]);
  });

  it.skipIf(!isRoot)("gives objects to their owner, and refuses those of another", () => {
    const theirs = tree.map((object) => ({ ...object, owner: { ...owner, uid: 1234, gid: 5678 } }));
    writeGeneratedObjects(theirs, to);
    for (const { path } of theirs) {
      const { uid, gid } = lstatSync(Buffer.from(to + path, "latin1"));
      expect([uid, gid]).toEqual([1234, 5678]);
    }
    expect(() => writeGeneratedObjects(tree, to)).toThrowError("is there already and belongs to 1234:5678, not to 0:0");
  });

  it("says who may not give objects away, and leaves nothing", () => {
    chmodSync(directory, 0o777);
    if (isRoot) process.seteuid?.(65534);
    try {
      const root = tree.map((object) => ({ ...object, owner: { ...owner, uid: 0 } }));
      if (!isRoot && owner.uid === 0) return;
      expect(() => writeGeneratedObjects(root, to)).toThrowError(
        expect.objectContaining({
          code: "output",
          message: expect.stringMatching(/^\/.*\/a cannot be given to 0:\d+, the user \d+:\d+ may not do that/),
          hint: expect.stringContaining("run it as root"),
        }),
      );
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    expect(readdirSync(directory)).toEqual([]);
  });
});
