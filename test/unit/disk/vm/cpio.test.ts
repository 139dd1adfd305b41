import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CHARACTER_DEVICE, cpioArchive, DIRECTORY, FILE, PROGRAM } from "../../../../src/disk/vm/cpio.js";
import { runOk } from "../../../support/command.js";
import { requireTools, tool } from "../../../support/tools.js";

const MEMBERS = [
  { path: "bin", mode: DIRECTORY },
  { path: "bin/tool", mode: PROGRAM, contents: Buffer.from("#!/bin/sh\n") },
  ...[0, 1, 2, 3, 4, 5].map((length) => ({
    path: `f${"x".repeat(length)}`,
    mode: FILE,
    contents: Buffer.alloc(length, 65),
  })),
  { path: "console", mode: CHARACTER_DEVICE, device: { major: 5, minor: 1 } },
];

describe.skipIf(requireTools("busybox"))("a cpio archive", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "cpio-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("is listed by busybox' cpio as it was made", async () => {
    const listed = await runOk(tool("busybox"), ["cpio", "-tv"], { stdin: cpioArchive(MEMBERS), env: { TZ: "UTC" } });
    const rows = listed.split("\n").filter((line) => /^[-dc]/.test(line));
    expect(rows.map((row) => row.trim().split(/\s+/)).map((words) => [words[0], words.at(-1)])).toEqual([
      ["drwxr-xr-x", "bin"],
      ["-rwxr-xr-x", "bin/tool"],
      ...[0, 1, 2, 3, 4, 5].map((length) => ["-rw-r--r--", `f${"x".repeat(length)}`]),
      ["crw-------", "console"],
    ]);
  });

  it("gives back contents and modes where it is unpacked, whatever their lengths", async () => {
    const files = MEMBERS.filter(({ mode }) => mode !== CHARACTER_DEVICE);
    await runOk(tool("busybox"), ["cpio", "-i", "-d"], { stdin: cpioArchive(files), cwd: directory });
    for (const { path, mode, ...rest } of files) {
      expect(statSync(join(directory, path)).mode, path).toBe(mode);
      if ("contents" in rest) expect(readFileSync(join(directory, path)), path).toEqual(rest.contents);
    }
  });

  it("is the same bytes every time", () => {
    expect(cpioArchive(MEMBERS)).toEqual(cpioArchive(MEMBERS));
    expect(cpioArchive(MEMBERS).length % 4).toBe(0);
  });
});
