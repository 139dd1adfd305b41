import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeTemporaryDirectory } from "../../../src/core/temporary.js";

/** No process has this number. */
const ENDED = 2 ** 22 + 1;

describe("a temporary directory", () => {
  let parent: string;
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), "temporary-"));
    vi.stubEnv("TMPDIR", parent);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(parent, { recursive: true, force: true });
  });

  /** A directory whose maker was killed. */
  function leave(): string {
    const { path, remove } = makeTemporaryDirectory();
    mkdirSync(join(path, "a/b"), { recursive: true });
    writeFileSync(join(path, "a/b/file"), "");
    chmodSync(join(path, "a"), 0);
    const left = path.replace(`-${process.pid}-`, `-${ENDED}-`);
    renameSync(path, left);
    remove();
    return left;
  }

  it("is its owner's alone, and is removed with what nobody can look into", () => {
    const { path, remove } = makeTemporaryDirectory();
    expect(lstatSync(path).mode & 0o777).toBe(0o700);
    mkdirSync(join(path, "a"), 0);
    remove();
    expect(readdirSync(parent)).toEqual([]);
  });

  it("is removed by the next one where its maker was killed, and stays where that runs", () => {
    const left = leave();
    const [first, second] = [makeTemporaryDirectory(), makeTemporaryDirectory()];
    expect(existsSync(left)).toBe(false);
    expect(readdirSync(parent).sort()).toEqual([basename(first.path), basename(second.path)].sort());
    for (const { remove } of [first, second]) remove();
  });

  it("is left alone where somebody else may have made it", () => {
    const elsewhere = join(parent, "elsewhere");
    mkdirSync(elsewhere, 0o755);
    const link = leave();
    rmSync(link, { recursive: true, force: true });
    symlinkSync(elsewhere, link);
    const open = leave();
    chmodSync(open, 0o755);
    const foreign = leave();
    if (process.getuid?.() === 0) chownSync(foreign, 12, 12);
    makeTemporaryDirectory().remove();
    expect(lstatSync(elsewhere).mode & 0o777).toBe(0o755);
    expect(existsSync(open)).toBe(true);
    expect(existsSync(foreign)).toBe(process.getuid?.() === 0);
  });

  it("is removed where there is nothing in it, whoever made it", () => {
    const made = leave();
    rmSync(made, { recursive: true, force: true });
    mkdirSync(made, 0o755);
    if (process.getuid?.() === 0) chownSync(made, 12, 12);
    makeTemporaryDirectory().remove();
    expect(readdirSync(parent)).toEqual([]);
  });

  it("is an error where it cannot be made", () => {
    vi.stubEnv("TMPDIR", join(parent, "none"));
    expect(() => makeTemporaryDirectory()).toThrow(/cannot make a directory in .*none: no such file or directory/);
  });
});
