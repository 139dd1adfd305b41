import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installForEverybody, runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { copySampleStore } from "../support/sample-store.js";

/** What is there where Node.js is not the one that the program was installed with. */
const LIBRARY = join("node_modules", "better-sqlite3", "build", "Release", "better_sqlite3.node");

describe("where better-sqlite3 is not built for the Node.js that runs it", { timeout: 60_000 }, () => {
  let directory: string;
  let installed: ReturnType<typeof installForEverybody>;
  let flags: readonly string[];

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-native-"));
    const store = copySampleStore(directory);
    flags = [store.closureFile, "--store-root", store.storeRoot, "--to", `oci:${join(directory, "layout")}:1`];
    installed = installForEverybody();
  });
  afterAll(() => {
    rmSync(installed.directory, { recursive: true, force: true });
    rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    ["does not load", (file: string) => writeFileSync(file, "\x7fELF, or so")],
    ["is missing", (file: string) => rmSync(file)],
  ])("it says so, and builds without its cache: the compiled part %s", async (words, spoil) => {
    spoil(join(installed.directory, LIBRARY));
    const { program } = installed;
    const built = expectOk(await runCli(["build", ...flags], { program }), "build");
    expect(String(built.stderr)).toContain(
      `better-sqlite3: the compiled part of it ${words} (Node ${process.versions.node}`,
    );
    expect(String(built.stderr).split("\n")).toHaveLength(3);
    const refused = await runCli(["build", ...flags, "--nix-db"], { program });
    expect(refused.status).toBe(1);
    expect(String(refused.stderr)).toContain("error: better-sqlite3: the compiled part of it ");
    expect(String(refused.stderr)).toMatch(/hint: .*npm rebuild better-sqlite3/);
  });
});

describe("where zstd-napi is not built", { timeout: 60_000 }, () => {
  it("validate says so, and nothing of an image that it cannot unpack", async () => {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-native-"));
    const installed = installForEverybody();
    try {
      const store = copySampleStore(directory);
      const image = `oci:${join(directory, "layout")}:1`;
      const flags = [store.closureFile, "--store-root", store.storeRoot, "--compression", "zstd", "--to", image];
      expectOk(await runCli(["build", ...flags]), "build");
      const { program } = installed;
      expectOk(await runCli(["validate", image], { program }), "validate");
      rmSync(join(installed.directory, "node_modules", "zstd-napi", "build", "Release", "binding.node"));
      const { status, stdout, stderr } = await runCli(["validate", image], { program });
      expect([status, String(stdout)]).toEqual([1, ""]);
      expect(String(stderr)).toContain("error: zstd-napi: the compiled part of it is missing");
    } finally {
      rmSync(installed.directory, { recursive: true, force: true });
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
