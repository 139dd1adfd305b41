import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";

const DERIVATION = `/nix/store/${"0".repeat(32)}-x.drv`;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "shell-"));
  writeFileSync(join(directory, "shell.nix"), "{ }");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("an argument of shell that is no store path", () => {
  it.each([
    [["./nope"], 'error: "./nope" is not a store path', "oci-nix shell $(nix-instantiate shell.nix)"],
    [["shell.nix"], "error: shell.nix is a file that is no store path", "oci-nix shell $(nix-instantiate shell.nix)"],
    [
      [DERIVATION, "--with", "/nix/store/nope"],
      'error: --with: "/nix/store/nope" is not a store path',
      "give store paths, as nix-build prints them",
    ],
    [[DERIVATION, "--with", "shell.nix"], "error: --with: shell.nix is a file", "give store paths, as nix-build"],
  ])("is refused with a hint of what to give: %j", async (args, message, hint) => {
    const result = await runCli(["shell", ...args], { cwd: directory });
    expect(result.stderr.startsWith(message), result.stderr).toBe(true);
    expect(result.stderr).toContain(`  hint: ${hint}`);
    expect(result.status).not.toBe(0);
    expect(result.stdout).toHaveLength(0);
  });
});
