import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildScript, quoteWord, startScript } from "../../src/build/shell/scripts.js";
import { findTool, requireTools } from "../support/tools.js";

const character = fc.constantFrom(...("abc \n\t'\"\\$`!*?[]{}()<>|&;#~=%-ü€𝄞".match(/./gsu) as readonly string[]));
const word = fc.oneof(fc.string({ unit: character, maxLength: 12 }), fc.string({ unit: "binary", maxLength: 8 }));
const words = fc.array(
  word.filter((text) => !text.includes("\0")),
  { minLength: 1, maxLength: 8 },
);
const SHELLS = ["sh", "bash"].filter((name) => findTool(name) !== undefined);

describe("words that are quoted for a shell", () => {
  it.each(SHELLS)("are what %s reads", (shell) => {
    fc.assert(
      fc.property(words, (given) => {
        const script = `printf '%s\\0' ${given.map(quoteWord).join(" ")}`;
        const { stdout, status } = spawnSync(shell, { input: script });
        expect(status).toBe(0);
        expect(stdout.toString().split("\0").slice(0, -1)).toEqual(given);
      }),
      { numRuns: 200 },
    );
  });
});

describe.skipIf(requireTools("bash"))("scripts of a Nix shell", () => {
  const bash = findTool("bash") as string;
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-words-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const start = (command: string, env: Readonly<Record<string, string>> = {}, derivationPath?: string) => {
    const file = join(directory, "rc");
    writeFileSync(file, startScript({ shell: bash, path: "/shell/bin:/it's", derivationPath, command }));
    const { stdout, stderr, status } = spawnSync(bash, [file], { env, encoding: "utf8" });
    return { stdout, stderr, status };
  };

  it("give the builder its arguments", () => {
    const program = join(directory, "build");
    const builder = join(directory, "builder of 'it'");
    writeFileSync(builder, `#!${bash}\nprintf '%s\\0' "$@"\n`);
    chmodSync(builder, 0o755);
    fc.assert(
      fc.property(words, (args) => {
        writeFileSync(program, buildScript(bash, builder, args), { mode: 0o755 });
        const { stdout, status } = spawnSync(program);
        expect(status).toBe(0);
        expect(stdout.toString().split("\0").slice(0, -1)).toEqual(args);
      }),
      { numRuns: 50 },
    );
  });

  it("do without a standard environment, and keep the derivation's own PATH", () => {
    expect(start('echo "$PATH $IN_NIX_SHELL $-"; (exit 3)', { PATH: "/lost", PS1: "" })).toMatchObject({
      ...{ stdout: expect.stringMatching(/^\/shell\/bin:\/it's pure \w+\n$/), stderr: "", status: 3 },
    });
    expect(start('"$BASH" -c \'echo "$PATH $SHELL"\'', {}, "/p q").stdout).toBe(`/shell/bin:/it's:/p q ${bash}\n`);
  });

  it("go on where the setup ends at errors, or the hook fails", () => {
    const setup = 'set -e\nexport PATH=/inputs\nrunHook() { eval "$shellHook"; }\n';
    writeFileSync(join(directory, "setup"), setup);
    const env = { stdenv: directory, shellHook: "echo hook; false", NIX_ENFORCE_PURITY: "1" };
    expect(start('false; echo "$PATH $NIX_ENFORCE_PURITY"', env)).toEqual({
      ...{ stdout: "hook\n/shell/bin:/it's:/inputs \n", stderr: "", status: 0 },
    });
  });
});
