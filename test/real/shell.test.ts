import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli, startCli } from "../support/cli.js";
import { runCommand, runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { REAL_STORE_TOOLS } from "../support/real-store.js";
import { makeShellStore, type ShellStore } from "../support/shell-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 180_000;
const skip = requireTools(...REAL_STORE_TOOLS, "nix", "nix-instantiate", "script", ...ENGINE_TOOLS.docker);

describe.skipIf(skip)("the image of a Nix shell", { timeout: LIMIT_MS }, () => {
  let directory: string;
  let store: ShellStore;
  let docker: Docker;
  let interactive: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-shell-"));
    chmodSync(directory, 0o755);
    [store, docker] = await Promise.all([makeShellStore(directory), startDocker()]);
    interactive = await store.build("bash-interactive");
    // Few layers, as some storage drivers copy the whole file system for each.
    await load("shell", "--with", interactive);
  }, 600_000);

  afterAll(async () => {
    await docker?.stop();
    // Nix makes its store read-only.
    await runCommand("chmod", ["-R", "u+w", directory]);
    rmSync(directory, { recursive: true, force: true });
  }, LIMIT_MS);

  const shellOf = (derivation: string, ...flags: readonly string[]) => [
    ...["shell", derivation, "--store-root", store.storeRoot, ...flags],
  ];
  const shell = (...flags: readonly string[]) => shellOf(store.derivation, ...flags);

  async function load(name: string, ...flags: readonly string[]): Promise<void> {
    const running = startCli(shell("--name", name, "--max-layers", "4", "--quiet", ...flags));
    await docker.ok(["load"], { stdin: running.stdout });
    expect(await running.ended).toMatchObject({ status: 0, stderr: "" });
  }
  const hash = () => store.derivation.slice("/nix/store/".length, "/nix/store/".length + 32);
  /** Runs a program, or what the image says, without a terminal. */
  const run = (name: string, ...command: readonly string[]) =>
    docker.ok([...RUN_OPTIONS, `${name}:${hash()}`, ...command]);
  /** What somebody sees who runs the image in a terminal and types lines. */
  const type = async (name: string, ...lines: readonly string[]) => {
    const words = [tool("docker"), "--host", docker.host, ...RUN_OPTIONS, "-it", `${name}:${hash()}`];
    const stdin = lines.map((line) => `${line}\n`).join("");
    return await runOk(tool("script"), ["-qec", words.join(" "), "/dev/null"], { stdin, timeoutMs: 60_000 });
  };
  /** Runs commands in the shell's environment, without a terminal. */
  const inShell = (name: string, script: string) => run(name, "/bin/sh", "-c", `. /usr/lib/nix-shell/rc\n${script}`);

  it("greets with the shellHook, and has the inputs' programs", async () => {
    const seen = await type("shell", "hello", "echo $((40 + 2)) $IN_NIX_SHELL", "exit");
    expect(seen).toContain("hooked into app-1.0");
    expect(seen).toContain("[nix-shell:~]$");
    expect(seen).toContain("Hello, world!");
    expect(seen).toContain("42 pure");
  });

  it("has the derivation's environment, as in a sandbox", async () => {
    const config = JSON.parse(await docker.ok(["image", "inspect", "--format", "{{json .Config}}", `shell:${hash()}`]));
    expect(config).toMatchObject({
      User: "1000:1000",
      WorkingDir: "/build",
      Cmd: [`${interactive}/bin/bash`, "--rcfile", "/usr/lib/nix-shell/rc"],
    });
    const shown = await store.nix("nix", "show-derivation", store.derivation);
    const { env } = Object.values(JSON.parse(shown) as Record<string, { env: Record<string, string> }>)[0] ?? {};
    const { message, ...others } = env as Record<string, string>;
    expect(message).toContain("\n");
    const build = Object.fromEntries(
      ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"].map((name) => [name, "/build"]),
    );
    const pairs = (config.Env as string[]).map((entry) => /^([^=]*)=(.*)$/s.exec(entry)?.slice(1) as [string, string]);
    expect(Object.fromEntries(pairs)).toEqual({
      ...{ ...others, ...build, messagePath: "/usr/lib/nix-shell/attributes/message" },
      ...{ HOME: "/build", NIX_STORE: "/nix/store", NIX_BUILD_CORES: "1", TERM: "xterm-256color" },
      PATH: `${interactive}/bin:/usr/lib/nix-shell/bin`,
    });
  });

  it("has what passAsFile names in files that its user reads", async () => {
    expect(await inShell("shell", 'id -un; cat "$messagePath"; echo "/$message"; hello')).toBe(
      "hooked into app-1.0\nnixbld\na 'long'\nmessage $HOME ü/\nHello, world!\n",
    );
  });

  it("has a home that its user may write to, and /tmp, and no more", async () => {
    const script = `touch "$HOME/file" ~/other /tmp/mine && stat -c '%U %G' ~/file && ! touch /etc/x /usr/x 2> /dev/null`;
    expect(await inShell("shell", script)).toBe("hooked into app-1.0\nnixbld nixbld\n");
    expect(await inShell("shell", "stat -c '%a %u:%g %n' / /build /tmp /bin /nix /nix/store /usr/lib/nix-shell")).toBe(
      "hooked into app-1.0\n755 0:0 /\n755 1000:1000 /build\n1777 0:0 /tmp\n755 0:0 /bin\n755 1000:1000 /nix\n755 1000:1000 /nix/store\n755 0:0 /usr/lib/nix-shell\n",
    );
  });

  it("builds the derivation, from outside and from the shell, as Nix does", async () => {
    const show = 'cat "$out"/* "$dev"/*';
    const script = `buildDerivation && . /usr/lib/nix-shell/rc > /dev/null && ${show}`;
    const built = await run("shell", "/bin/sh", "-c", script);
    expect(await inShell("shell", `buildDerivation && ${show}`)).toBe(`hooked into app-1.0\n${built}`);
    const outputs = (await store.nix("nix-store", "--realise", "--quiet", "--quiet", store.derivation)).split("\n");
    const files = outputs
      .sort((a, b) => a.length - b.length)
      .flatMap((output) =>
        readdirSync(store.storeRoot + output)
          .sort()
          .map((name) => join(output, name)),
      );
    expect(files).toHaveLength(4);
    expect(built).toBe(files.map((file) => readFileSync(store.storeRoot + file, "utf8")).join(""));
  });

  it("runs commands in an interactive shell, and ends", async () => {
    await load(
      "command",
      "--with",
      interactive,
      "--command",
      'case $- in *i*) echo "interactive: $(hello)";; esac; (exit 7)',
    );
    const words = [tool("docker"), "--host", docker.host, ...RUN_OPTIONS, "-it", `command:${hash()}`];
    const result = await runCommand(tool("script"), ["-qec", words.join(" "), "/dev/null"], { stdin: "" });
    expect(result.stdout.toString()).toContain("interactive: Hello, world!");
    expect(result.status).toBe(7);
  });

  it("runs commands in a shell that is not interactive, and ends", async () => {
    await load(
      "run",
      "--with",
      interactive,
      "--run",
      'case $- in *i*) ;; *) echo "script: $(hello)";; esac\n(exit 7)\n',
    );
    const result = await docker.run([...RUN_OPTIONS, `run:${hash()}`]);
    expect(result.stdout.toString()).toBe("hooked into app-1.0\nscript: Hello, world!\n");
    expect(result.status).toBe(7);
  });

  it.each([
    ["a script where an init passes signals on", "--run", [], ["--init"], 143],
    ["one that is interactive by hanging up", "--command", ["--stop-signal", "SIGHUP"], ["--tty"], 129],
  ] as const)("is stopped at once: %s", async (_, what, ofImage, ofContainer, status) => {
    await load("stopped", "--with", interactive, what, "echo ready; sleep 600", ...ofImage);
    const flags = ["--detach", "--network", "none", ...ofContainer];
    const id = (await docker.ok(["run", ...flags, `stopped:${hash()}`])).trim();
    try {
      while (!(await docker.ok(["logs", id])).includes("ready"))
        await new Promise((resolve) => setTimeout(resolve, 100));
      await docker.ok(["stop", "--time", "300", id], { timeoutMs: 100_000 });
      // By the signal itself, and not killed in the end, which is 137.
      expect(await docker.ok(["inspect", "--format", "{{.State.ExitCode}}", id])).toBe(`${status}\n`);
    } finally {
      await docker.run(["rm", "--force", id]);
    }
  });

  it("does without a home directory, for any user", async () => {
    await load("homeless", "--with", interactive, "--home", "/homeless-shelter", "--uid", "4321", "--gid", "1234");
    const script = `echo "$HOME"; [ ! -e "$HOME" ] && echo missing; ! touch "$HOME/x" 2> /dev/null; id; cat /etc/passwd /etc/group; touch "$out"`;
    expect(await inShell("homeless", script)).toBe(
      [
        "hooked into app-1.0",
        "/homeless-shelter",
        "missing",
        "uid=4321(nixbld) gid=1234(nixbld) groups=1234(nixbld)",
        "root:x:0:0:root user:/var/empty:/bin/sh",
        "nixbld:x:4321:1234:Nix build user:/homeless-shelter:/noshell",
        "nobody:x:65534:65534:nobody:/var/empty:/bin/sh",
        "root:x:0:",
        "nixbld:!:1234:",
        "nobody:x:65534:",
        "",
      ].join("\n"),
    );
    expect(await type("homeless", "exit")).toContain("hooked into app-1.0");
  });

  it("has a Nix database that Nix in it verifies, adds to and keeps", async () => {
    const nix = await store.build("nix");
    await load("database", "--with", interactive, "--with", nix);
    const wanted = await store.nix("nix-store", "--query", "--requisites", await store.build("hello"));
    const script = [
      "export NIX_REMOTE=local",
      `nix=${nix}/bin/nix-store`,
      "$nix --verify --check-contents >&2 || exit 1",
      "$nix --query --requisites $nativeBuildInputs || exit 1",
      "! $nix --gc --print-dead | grep hello || exit 1",
      "buildDerivation && $nix --add $out/greeting",
    ].join("\n");
    const result = await docker.run([
      ...[...RUN_OPTIONS, `database:${hash()}`, "/bin/sh", "-c", `. /usr/lib/nix-shell/rc >&2\n${script}`],
    ]);
    expect(result.stderr).not.toMatch(/error|disappeared|modified/);
    const lines = result.stdout.toString().trim().split("\n");
    expect(lines.slice(0, -1).sort()).toEqual(wanted.split("\n").sort());
    expect(lines.at(-1)).toMatch(/^\/nix\/store\/.{32}-greeting$/);
  });

  it("lets Nix in it build the derivation, where that is added", async () => {
    const nix = await store.build("nix");
    const cacert = await store.build("cacert");
    await load("derivation", ...[interactive, nix, cacert, store.derivation].flatMap((path) => ["--with", path]));
    const script = [
      // Debian's Nix looks for its own in /usr.
      `printf '#!/bin/sh\\necho "# decline-permanently" >&2\\n' > /tmp/hook && chmod +x /tmp/hook`,
      "export NIX_REMOTE=local NIX_CONFIG='sandbox = false\nbuild-hook = /tmp/hook\nsubstituters ='",
      `${nix}/bin/nix-store --realise --quiet --quiet ${store.derivation} >&2`,
      `${nix}/bin/nix-store --query --deriver $out && cat $out/greeting $SSL_CERT_FILE $NIX_SSL_CERT_FILE`,
    ].join("\n");
    expect(await inShell("derivation", script)).toBe(
      `hooked into app-1.0\n${store.derivation}\nHello, world!\nCERTIFICATE\nCERTIFICATE\n`,
    );
  });

  it("is the same image in every place, twice", async () => {
    const to = join(directory, "layout");
    const build = async (output = "") =>
      await runCli(
        shellOf(
          `${store.derivation}${output}`,
          "--with",
          interactive,
          "--no-cache",
          "--to",
          `oci:${to}:1`,
          "--to",
          `docker-daemon:built:1`,
        ),
        {
          env: { DOCKER_HOST: docker.host },
        },
      );
    const first = await build();
    expect(first.status, first.stderr).toBe(0);
    rmSync(to, { recursive: true });
    expect((await build("!dev")).stdout.toString()).toBe(first.stdout.toString());
    expect(await docker.ok([...RUN_OPTIONS, "built:1", "/bin/sh", "-c", "echo it runs"])).toBe("it runs\n");
  });

  describe("is refused", () => {
    const refusal = async (derivation: string, ...flags: readonly string[]) => {
      const result = await runCli(shellOf(derivation, ...flags));
      expect(result.stdout).toHaveLength(0);
      expect(result.status).not.toBe(0);
      return result.stderr;
    };

    it("where an input is not built", async () => {
      const error = await refusal(await store.instantiate("unbuilt"));
      expect(error).toMatch(
        /\/nix\/store\/\S+-unbuilt, the output out of \S+-unbuilt\.drv, is an input .* not in the store/,
      );
      expect(error).toMatch(/nix-store --realise \/nix\/store\/\S+-unbuilt\.drv/);
    });

    it("for structured attributes", async () => {
      const derivation = await store.instantiate("structured");
      expect(await refusal(derivation)).toContain("structured attributes");
    });

    it("without bash among the inputs", async () => {
      const bare = await store.instantiate("bare");
      expect(await refusal(bare)).toContain("no input of the derivation is bash-interactive or bash with bin/bash");
      const error = await refusal(bare, "--shell", `${interactive}/bin/bash`);
      expect(error).toContain("no input of the derivation is coreutils or coreutils-full with bin/env");
    });

    it("with several of them, unless one is meant", async () => {
      expect(await refusal(store.derivation)).toContain("several inputs have bin/bash: /nix/store/");
    });

    it("for what is no derivation, not there, or not as Nix writes it", async () => {
      expect(await refusal(interactive)).toContain(`${interactive} is no derivation`);
      expect(await refusal(`/nix/store/${"0".repeat(32)}-none.drv`)).toContain("cannot read the derivation");
      const wrong = `/nix/store/${"0".repeat(32)}-wrong.drv`;
      writeFileSync(store.storeRoot + wrong, "Derive(");
      expect(await refusal(wrong)).toContain(
        "is not a derivation as Nix writes them: at byte 7 it ends, where [ is expected",
      );
      rmSync(store.storeRoot + wrong);
    });

    it("with flags that contradict each other", async () => {
      const flags = ["--with", interactive, "--command", "a", "--run", "b"];
      expect(await refusal(store.derivation, ...flags)).toContain("both command and run say what the shell runs");
      expect(await refusal(store.derivation, "--dry-run")).toContain("--dry-run is for places, and there is no --to");
      expect(await refusal(store.derivation, "--shell", "/bin/bash")).toContain("is no file of a store path");
    });
  });
});
