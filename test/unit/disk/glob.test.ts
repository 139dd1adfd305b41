import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { globPaths, isGlob } from "../../../src/disk/glob.js";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-glob-"));
  for (const name of ["b.conf", "a.conf", "a.txt", ".hidden.conf", "a+b", "x]y"])
    writeFileSync(join(directory, name), "");
  for (const name of ["one", "two"]) {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "motd"), "");
  }
  symlinkSync("nowhere", join(directory, "dangling.conf"));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("a pattern of sources", () => {
  it.each([
    ["*.conf", ["a.conf", "b.conf", "dangling.conf"]],
    [".*.conf", [".hidden.conf"]],
    ["?.txt", ["a.txt"]],
    ["[ab].conf", ["a.conf", "b.conf"]],
    ["[!a].conf", ["b.conf"]],
    ["[]x]*y", ["x]y"]],
    ["[a-b].c*f", ["a.conf", "b.conf"]],
    ["[b-a].conf", ["b.conf"]],
    ["[!]a]*.conf", ["b.conf", "dangling.conf"]],
    ["x[]]y", ["x]y"]],
    ["[", []],
    ["[]*", []],
    ["*a*n*.*f", ["dangling.conf"]],
    ["*?*.txt*", ["a.txt"]],
    ["a+*", ["a+b"]],
    ["*/motd", ["one/motd", "two/motd"]],
    ["t*/*", ["two/motd"]],
    ["*.none", []],
    ["a.txt/*", []],
  ])("%s stands for %j", (pattern, names) => {
    expect(globPaths(`${directory}/${pattern}`)).toEqual(names.map((name) => join(directory, name)));
  });

  it("is told from a path", () => {
    expect(["/a*", "/a?", "/[a]", "/a b"].map(isGlob)).toEqual([true, true, true, false]);
  });
});
