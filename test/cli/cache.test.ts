import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { openDigestCache } from "../../src/cache/digest-cache.js";
import { type CliOptions, runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { digest, temporaryDirectory } from "../unit/cache/fixtures.js";

let directory: string;
let cache: string;
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = temporary.path;
  cache = join(directory, "oci-nix");
  return temporary.remove;
});

/** The default cache directory is `cache`. */
const run = (args: readonly string[], options: CliOptions = {}) =>
  runCli(["cache", ...args], { env: { XDG_CACHE_HOME: directory }, cwd: directory, ...options });

function fill(into: string, count: number): void {
  const opened = openDigestCache(into);
  for (let n = 0; n < count; n++) {
    opened.rememberLayer(digest(`key ${n}`), { diffId: digest(`layer ${n}`), size: n }, `layer ${n}`);
    opened.rememberBlob(digest(`layer ${n}`), "gzip:6", { digest: digest(`blob ${n}`), size: n });
  }
  opened.close();
}

function expectError(result: CommandResult, status: number, message: RegExp | string): void {
  expect(result.stderr).toMatch(message);
  expect(result.stderr).toMatch(/^error: [^\n]+\n(?: {2}hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
  expect(result.status).toBe(status);
  expect(result.stdout).toHaveLength(0);
}

describe("oci-nix cache info", () => {
  it("shows what is there, and makes nothing", async () => {
    const result = expectOk(await run(["info"]), "cache info");
    expect(result.stdout.toString()).toBe(
      `directory      ${cache}\ndigests        of 0 layers and 0 packed layers, 0 B\npacked layers  0, 0 B\n`,
    );
    expect(existsSync(cache)).toBe(false);
    fill(cache, 3);
    const json = expectOk(await run(["info", "--json"]), "cache info").stdout.toString();
    expect(JSON.parse(json)).toMatchObject({
      directory: cache,
      digests: { layers: 3, blobs: 3 },
      blobs: { count: 0, size: 0 },
    });
  });

  it("says of a damaged cache that it is", async () => {
    fill(cache, 1);
    writeFileSync(join(cache, "digests.sqlite"), "no database at all, but long enough".repeat(100));
    const result = expectOk(await run(["info"]), "cache info");
    expect(result.stdout.toString()).toContain("none that can be used (file is not a database), 3.50 kB");
  });
});

describe("oci-nix cache prune", () => {
  it("removes everything when told to", async () => {
    fill(cache, 3);
    const result = expectOk(await run(["prune", "--all"]), "cache prune");
    expect(result.stderr).toBe("6 digests and 0 packed layers removed, 0 B\n");
    expect(result.stdout).toHaveLength(0);
    const json = expectOk(await run(["prune", "--older-than", "30", "--max-size", "1GB", "--json"]), "cache prune");
    expect(JSON.parse(json.stdout.toString())).toEqual({ digests: 0, blobs: 0, blobBytes: 0 });
    expect(expectOk(await run(["prune", "--all", "--quiet"]), "cache prune").stderr).toBe("");
  });

  it.each([
    ["nothing to remove", ["prune"], /cache prune is not told what to remove/],
    ["a size that is none", ["prune", "--max-size", "lots"], /--max-size: "lots" is not a size in bytes/],
    ["an age that is none", ["prune", "--older-than", "a week"], /--older-than takes a whole number/],
    ["an argument", ["prune", "now", "--all"], /cache prune takes no arguments, not "now"/],
    ["an argument of info", ["info", "now"], /cache info takes no arguments, not "now"/],
    ["an empty cache directory", ["info", "--cache-dir", ""], /the cache directory has an empty name/],
    ["no file to export to", ["export"], /cache export takes one FILE, not 0/],
    ["two files to import", ["import", "a", "b"], /cache import takes one FILE, not 2/],
    ["an unknown command", ["purge"], /unknown command cache purge/],
  ])("refuses %s", async (_, args, message) => {
    expectError(await run(args), 2, message);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("says where the cache can be when there is no home", async () => {
    const env = { XDG_CACHE_HOME: undefined, HOME: "nowhere" };
    expectError(await run(["info"], { env }), 2, /no home directory.*\n.*hint: --cache-dir DIR/);
  });
});

describe("oci-nix cache export and import", () => {
  it("carry all digests from one cache to another, by file and by standard streams", async () => {
    fill(cache, 5);
    const file = join(directory, "digests.jsonl");
    const exported = expectOk(await run(["export", file]), "cache export");
    expect([exported.stdout.length, exported.stderr]).toEqual([0, ""]);
    const other = ["--cache-dir", join(directory, "other")];
    expect(expectOk(await run(["import", file, ...other]), "cache import").stderr).toBe(
      "10 digests added, 0 known already\n",
    );
    const again = expectOk(await run(["export", "-", ...other]), "cache export").stdout;
    expect(again.equals(readFileSync(file))).toBe(true);
    const third = ["--cache-dir", join(directory, "third")];
    const imported = expectOk(await run(["import", "-", "--json", ...third], { stdin: again }), "cache import");
    expect(JSON.parse(imported.stdout.toString())).toEqual({ added: 10, known: 0 });
    expectOk(await run(["import", "-", ...third], { stdin: { file } }), "cache import");
    expect(expectOk(await run(["export", "-", ...third]), "cache export").stdout.equals(again)).toBe(true);
  });

  it("leave what was there when they fail", async () => {
    fill(cache, 2);
    const file = join(directory, "digests.jsonl");
    expectOk(await run(["export", file]), "cache export");
    const before = readFileSync(file);
    expectError(await run(["export", join(directory, "none", "file")]), 1, /there is no directory/);
    expectError(
      await run(["import", "-"], { stdin: before.subarray(0, -30) }),
      1,
      /standard input line 5: not valid JSON/,
    );
    expectError(
      await run(["import", "-"], { stdin: Buffer.from([0xff, 0xfe]) }),
      1,
      /standard input is not text in UTF-8/,
    );
    expectError(await run(["import", join(directory, "none")]), 1, /cannot read \S+none: no such file/);
    const contrary = before.toString().replace('"size":1', '"size":2');
    expectError(await run(["import", "-"], { stdin: contrary }), 1, /in the cache it has [^\n]*: nothing was imported/);
    writeFileSync(join(cache, "digests.sqlite"), "no database at all, but long enough".repeat(100));
    expectError(await run(["export", file]), 1, /cannot use the cache.*\n.*hint: oci-nix cache prune --all empties it/);
    expect(readFileSync(file).equals(before)).toBe(true);
  });
});
