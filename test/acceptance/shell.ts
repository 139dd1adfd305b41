import { mkdirSync } from "node:fs";
import { beforeAll, expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runOk } from "../support/command.js";
import { RUN_OPTIONS } from "../support/daemons.js";
import { makeShellStore, type ShellStore } from "../support/shell-store.js";
import { tool } from "../support/tools.js";

/** What {@link shellPoints} need besides. */
export const SHELL_TOOLS = ["nix", "nix-instantiate", "script"] as const;

/** The file that a shell of the image begins with. */
const START = ". /usr/lib/nix-shell/rc";

/** The acceptance point about images of Nix shells. */
export function shellPoints(host: Acceptance): void {
  let store: ShellStore;
  let bash: string;

  beforeAll(async () => {
    const directory = host.file("shell");
    mkdirSync(directory);
    store = await makeShellStore(directory);
    bash = await store.build("bash-interactive");
    await load("shell");
  }, 600_000);

  const load = async (name: string, ...flags: readonly string[]) => {
    const image = ["--name", name, "--tag", "1", "--max-layers", "4", "--with", bash];
    await host.loadInput([store.derivation, "--store-root", store.storeRoot, ...image, ...flags], "shell");
  };
  /** Runs commands as they would run in the shell; gives what they print. */
  const inShell = (image: string, script: string) =>
    host.run(`${image}:1`, "/bin/sh", "-c", `${START} > /dev/null\n${script}`);
  /** What somebody sees who runs the image in a terminal and types lines. */
  const inTerminal = async (image: string, ...lines: readonly string[]) => {
    const words = [tool("docker"), "--host", host.docker.host, ...RUN_OPTIONS, "-it", `${image}:1`];
    const stdin = lines.map((line) => `${line}\n`).join("");
    return await runOk(tool("script"), ["-qec", words.join(" "), "/dev/null"], { stdin });
  };

  it("30: a shell starts with the shellHook", async () => {
    expect(await inTerminal("shell", "exit")).toContain("hooked into app-1.0");
  });

  it("30: a shell has the programs of the inputs", async () => {
    expect(await inTerminal("shell", "hello", "exit")).toContain("Hello, world!");
    expect(await inShell("shell", "hello")).toBe("Hello, world!\n");
  });

  it("30: a shell has what passAsFile names in a file", async () => {
    expect(await inShell("shell", 'cat "$messagePath"; echo "/$message"')).toBe("a 'long'\nmessage $HOME ü/\n");
  });

  it("30: the home directory can be written to", async () => {
    expect(await inShell("shell", 'touch ~/file && stat -c "%u:%g %n" "$HOME/file"')).toBe("1000:1000 /build/file\n");
  });

  it("30: buildDerivation builds what Nix builds", async () => {
    const output = await store.build("app");
    const built = await inShell("shell", 'buildDerivation && echo "$out" && cat "$out/greeting" "$out/message"');
    expect(built).toBe(`${output}\nHello, world!\na 'long'\nmessage $HOME ü`);
  });

  it("30: commands run in an interactive shell, which ends", async () => {
    await load("shell-command", "--command", "case $- in *i*) echo interactive, $(hello);; esac");
    expect(await inTerminal("shell-command")).toContain("interactive, Hello, world!");
  });

  it("30: commands run in a shell that is not interactive, terminal or not", async () => {
    await load("shell-run", "--run", "case $- in *i*) ;; *) echo not interactive, $(hello);; esac");
    expect(await inTerminal("shell-run")).toContain("not interactive, Hello, world!");
    expect(await host.run("shell-run:1")).toContain("not interactive, Hello, world!\n");
  });

  it("30: a home directory may be missing", async () => {
    await load("shell-homeless", "--home", "/homeless");
    expect(await inShell("shell-homeless", 'echo "$HOME"; test -e "$HOME" || echo missing')).toBe(
      "/homeless\nmissing\n",
    );
  });

  it("30: Nix in the image knows what is there", async () => {
    const nix = await store.build("nix");
    await load("shell-database", "--with", nix);
    const script = `export NIX_REMOTE=local; ${nix}/bin/nix-store --query --requisites $nativeBuildInputs && ${nix}/bin/nix-store --verify --check-contents`;
    const known = (await inShell("shell-database", script)).trimEnd().split("\n").sort();
    const hello = await store.build("hello");
    expect(known).toEqual((await store.nix("nix-store", "--query", "--requisites", hello)).split("\n").sort());
  });
}
