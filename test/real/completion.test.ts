import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { openTerminal, PROMPT } from "../support/terminal.js";
import { requireTools, tool } from "../support/tools.js";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

let directory: string;

/** Lines, and what the help says could come next. */
const offered = new Map<string, readonly string[]>();

const scriptOf = (shell: string): string => join(directory, `completion.${shell}`);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-completion-"));
  mkdirSync(join(directory, "work", "images"), { recursive: true });
  writeFileSync(join(directory, "work", "image spec.json"), "{}");
  writeFileSync(join(directory, "work", "image.tar"), "");
  for (const shell of SHELLS) {
    const { stdout } = expectOk(await runCli(["completion", shell]), `completion ${shell}`);
    writeFileSync(scriptOf(shell), stdout);
  }
  await readHelp([]);
}, 60_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const help = async (...words: readonly string[]): Promise<string> =>
  expectOk(await runCli([...words, "--help"]), "help").stdout.toString();

const commandsIn = (text: string): readonly string[] =>
  [...text.matchAll(/^ {2}([a-z0-9][a-z0-9-]*) {2,}\S/gm)].map(([, name]) => name as string);

const flagsIn = (text: string): readonly string[] =>
  [...text.matchAll(/^ {2}(?:-\w, | {4})(--[a-z0-9-]+)/gm)].map(([, name]) => name as string);

/** Reads the help of all commands below these words. */
async function readHelp(words: readonly string[]): Promise<void> {
  const text = await help(...words);
  const line = ["oci-nix", ...words].join(" ");
  const names = commandsIn(text);
  if (flagsIn(text).length > 0) offered.set(`${line} --`, flagsIn(text));
  else offered.set(`${line} `, names);
  for (const name of names) await readHelp([...words, name]);
}

const DRIVERS: Readonly<Record<Shell, (lines: readonly string[]) => Promise<readonly (readonly string[])[]>>> = {
  /** With COMP_WORDS as readline makes it: broken at `:` and `=`. */
  async bash(lines) {
    const program = `
      source "$1"; shift
      while (($#)); do
        COMP_LINE=$1 COMP_POINT=\${#1} COMP_WORDS=() rest=$1; shift
        while [[ $rest =~ ^[[:space:]]*([:=]+|[^[:space:]:=]+) ]]; do
          COMP_WORDS+=("\${BASH_REMATCH[1]}"); rest=\${rest:\${#BASH_REMATCH[0]}}
        done
        [[ -z $rest ]] || COMP_WORDS+=("")
        COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
        _oci_nix 2>/dev/null
        printf '%s\\n' "\${COMPREPLY[@]}" --end--
      done`;
    return byLine(await runOk(tool("bash"), ["--norc", "-c", program, "bash", scriptOf("bash"), ...lines], inWork()));
  },
  /** With what the completion adds written to a file, at a terminal: zsh completes nowhere else. */
  async zsh(lines) {
    const found = join(directory, "zsh-found");
    const setup = join(directory, "zsh-setup");
    writeFileSync(
      setup,
      `autoload -Uz compinit; compinit -D -u; setopt no_beep
       compadd() {
         if [[ " \${(j: :)@[1,(i)(-|--)]} " == *' -'[OAD]' '* ]]; then builtin compadd "$@"; return; fi
         local -a hits; builtin compadd -A hits "$@"; print -rl -- $hits >>"${found}"
         builtin compadd "$@"
       }
       source "${scriptOf("zsh")}"\n`,
    );
    const terminal = await openZsh(setup);
    const results: (readonly string[])[] = [];
    for (const line of lines) {
      writeFileSync(found, "");
      // The line is given up after its completion. The prompt tells nothing here: it is shown again below a list.
      await terminal.type(`${line}\t\x15echo "DO""NE"\n`, "DONE");
      await terminal.type("");
      results.push(
        readFileSync(found, "utf8")
          .split("\n")
          .filter((word) => word !== ""),
      );
    }
    await terminal.close();
    return results;
  },
  async fish(lines) {
    const program = "source $argv[1]; for line in $argv[2..]; complete -C $line; echo --end--; end";
    const output = await runOk(
      tool("fish"),
      ["--no-config", "-c", program, "--", scriptOf("fish"), ...lines],
      inWork(),
    );
    return byLine(output).map((words) => words.map((word) => word.replace(/\t.*/, "")));
  },
};

function inWork(): { readonly cwd: string; readonly env: Readonly<Record<string, string | undefined>> } {
  return { cwd: join(directory, "work"), env: { ...process.env, HOME: directory, LC_ALL: "C.UTF-8" } };
}

function byLine(output: string): readonly (readonly string[])[] {
  return output
    .split("--end--\n")
    .slice(0, -1)
    .map((part) => part.split("\n").filter((word) => word !== ""));
}

/** With the file as what zsh reads first. */
function openZsh(setup: string) {
  const home = mkdtempSync(join(directory, "zsh-"));
  const options = "unsetopt prompt_sp; unset zle_bracketed_paste";
  writeFileSync(join(home, ".zshrc"), `PS1='${PROMPT}'; ${options}\nsource ${setup}\n`);
  return openTerminal(`${tool("zsh")} -d -i`, { cwd: join(directory, "work"), env: { ZDOTDIR: home } });
}

describe.skipIf(requireTools(...SHELLS, "script"))("completion", () => {
  describe.each(SHELLS)("in %s", (shell) => {
    it("offers exactly the commands and flags that the help shows", async () => {
      const lines = [...offered.keys()];
      expect(lines.length).toBeGreaterThan(20);
      const found = await DRIVERS[shell](lines);
      expect(Object.fromEntries(lines.map((line, i) => [line, plain(found[i])]))).toEqual(
        Object.fromEntries([...offered].map(([line, words]) => [line, plain(words)])),
      );
    }, 120_000);

    it("offers values, and places up to their names", async () => {
      const places = ["containers-storage:", "docker-archive:", "docker-daemon:", "docker://", "oci-archive:", "oci:"];
      const cases: Readonly<Record<string, readonly string[]>> = {
        "oci-nix build --progress ": ["auto", "none", "plain"],
        "oci-nix disk verify --boot ": ["bios", "uefi"],
        "oci-nix plan --strategy popu": ["popularity"],
        "oci-nix build --to ": places,
        "oci-nix copy --compression zstd ": places,
        "oci-nix schema ": ["disk"],
        "oci-nix completion ": ["bash", "fish", "zsh"],
        "oci-nix build --name x --tls-verify ": ["false", "true"],
        "oci-nix build --cmd --to --tar-profile o": ["oci"],
        "oci-nix build --name ": [],
      };
      const found = await DRIVERS[shell](Object.keys(cases));
      expect(Object.fromEntries(Object.keys(cases).map((line, i) => [line, plain(found[i])]))).toEqual(cases);
    }, 60_000);

    it("completes what is typed, with names that have colons, spaces and equals signs", async () => {
      const terminal = await openShell(shell);
      try {
        const keys = [
          "bui\t--progress=pl\t--to oci:imag\t",
          "build --to=docker-archive:image.\t",
          "build --closure=image\\ s\t",
          "build --store-root im\t",
          "build --to=docker:\tapp",
          "disk ver\t--boot bi\timage.t\t",
          "n2c image-from-d\t",
          "push docker:\tapp",
        ];
        const seen: Record<string, readonly string[]> = {};
        for (const line of keys) {
          const shown = await terminal.type(`oci-nix ${line}\n`);
          seen[line] = [...(/RAN(?:<[^>\n]*>)+/.exec(shown)?.[0] ?? "").matchAll(/<([^>]*)>/g)].map(([, word]) =>
            (word as string).replace(/\/$/, ""),
          );
        }
        expect(seen).toEqual({
          "bui\t--progress=pl\t--to oci:imag\t": ["build", "--progress=plain", "--to", "oci:images"],
          "build --to=docker-archive:image.\t": ["build", "--to=docker-archive:image.tar"],
          "build --closure=image\\ s\t": ["build", "--closure=image spec.json"],
          "build --store-root im\t": ["build", "--store-root", "images"],
          "build --to=docker:\tapp": ["build", "--to=docker://app"],
          "disk ver\t--boot bi\timage.t\t": ["disk", "verify", "--boot", "bios", "image.tar"],
          "n2c image-from-d\t": ["n2c", "image-from-dir"],
          "push docker:\tapp": ["push", "docker://app"],
        });
      } finally {
        await terminal.close();
      }
    }, 60_000);
  });
});

/** Without prefixes that a shell's list repeats, in one order. */
function plain(words: readonly string[] = []): readonly string[] {
  return [...new Set(words.filter((word) => !/^-\w$/.test(word)))].sort();
}

/** An interactive shell in which oci-nix shows its arguments. */
async function openShell(shell: Shell) {
  const setup = join(directory, `typed.${shell}`);
  const options = { cwd: join(directory, "work"), env: {} };
  const run = `oci-nix() { printf RAN; printf '<%s>' "$@"; echo; }\n`;
  if (shell === "fish") {
    writeFileSync(
      setup,
      `function fish_prompt; echo -n '${PROMPT}'; end
       function fish_greeting; end
       function oci-nix; printf RAN; printf '<%s>' $argv; echo; end
       source ${scriptOf("fish")}\n`,
    );
    return await openTerminal(`${tool("fish")} --no-config -i -C 'source ${setup}'`, options);
  }
  if (shell === "bash") {
    writeFileSync(setup, `PS1='${PROMPT}'; bind 'set enable-bracketed-paste off'\n${run}source ${scriptOf("bash")}\n`);
    return await openTerminal(`${tool("bash")} --noprofile --rcfile ${setup} -i`, options);
  }
  const functions = join(directory, "functions");
  mkdirSync(functions, { recursive: true });
  copyFileSync(scriptOf("zsh"), join(functions, "_oci-nix"));
  writeFileSync(setup, `fpath=(${functions} $fpath); autoload -Uz compinit; compinit -D -u; setopt no_beep\n${run}`);
  return await openZsh(setup);
}
