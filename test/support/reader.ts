import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { PROJECT } from "./cli.js";
import { runCommand, runOk } from "./command.js";
import { type DocBlock, isShown, transcript } from "./doc-blocks.js";
import type { ShellStore } from "./shell-store.js";
import { tool } from "./tools.js";

/** A machine as documents take it for granted: a Nix store with nixpkgs, Docker, a registry, oci-nix on the PATH. */
export interface ReaderOptions {
  readonly store: ShellStore;
  /** Of the Docker daemon. */
  readonly dockerHost: string;
  /** What `registry.example` stands for. */
  readonly registry: string;
  /** A directory that the reader works in, and has a home. */
  readonly directory: string;
}

const LIMIT_MS = 300_000;

export class Reader {
  readonly #options: ReaderOptions;
  readonly #environment: Readonly<Record<string, string>>;
  /** Name in documents (`/nix/store/…-app`) → store path. */
  #paths: Readonly<Record<string, string>> = {};

  constructor(options: ReaderOptions) {
    this.#options = options;
    const { directory, dockerHost } = options;
    const bin = join(directory, "bin");
    mkdirSync(bin, { recursive: true });
    symlinkSync(join(PROJECT, "bin", "oci-nix.js"), join(bin, "oci-nix"));
    mkdirSync(join(directory, "node_modules"));
    symlinkSync(PROJECT.replace(/\/$/, ""), join(directory, "node_modules", "oci-nix"));
    // The registry speaks plain HTTP.
    const skopeo = `#!/bin/sh\ncommand=$1; shift; exec ${tool("skopeo")} "$command" --tls-verify=false "$@"\n`;
    writeFileSync(join(bin, "skopeo"), skopeo, { mode: 0o755 });
    const home = join(directory, "home");
    mkdirSync(home);
    this.#environment = {
      PATH: [bin, dirname(process.execPath), "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"].join(":"),
      HOME: home,
      npm_config_prefix: join(home, ".npm"),
      XDG_RUNTIME_DIR: home,
      TMPDIR: directory,
      LC_ALL: "C.UTF-8",
      DOCKER_HOST: dockerHost,
      NIX_PATH: `nixpkgs=${join(PROJECT, "test", "docs", "nixpkgs.nix")}:packages=${options.store.expression}`,
      NIX_CONF_DIR: "/nonexistent",
      NIX_CONFIG: "build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command flakes\n",
      NODE: process.execPath,
      OCI_NIX: join(PROJECT, "bin", "oci-nix.js"),
      OUTPUTS: join(directory, "outputs"),
    };
  }

  /** Builds what documents name by `/nix/store/…-NAME`. */
  async prepare(): Promise<void> {
    const names = ["app", "base", "hello", "coreutils", "cacert", "nixos"];
    const roots = names.map((name) => `-A ${name}`).join(" ");
    const script = `nix-build '<nixpkgs>' --no-out-link ${roots}; nix-build '<nixpkgs>' --no-out-link -A bashInteractive`;
    const built = (await this.#shell(script)).trim().split("\n");
    const paths = Object.fromEntries([...names, "bash"].map((name, index) => [name, built[index] as string]));
    this.#paths = { ...paths, "nixos-system-web-25.11": paths.nixos as string };
  }

  /** What stands in a document, as it is on this machine. */
  substituted(text: string): string {
    return text
      .replaceAll("registry.example", this.#options.registry)
      .replaceAll("npm install --global oci-nix", `npm install --global ${PROJECT}`)
      .replace(/\/nix\/store\/…-([a-z0-9.-]+)/g, (whole, name: string) => this.#paths[name] ?? whole);
  }

  /**
   * Does all that a document tells, in order, in a directory of its own.
   * @throws Error naming the line of a block that fails, or that shows what is not printed
   */
  async follow(document: string, blocks: readonly DocBlock[]): Promise<void> {
    const directory = join(this.#options.directory, document.replaceAll("/", "-"));
    const outputs = join(directory, ".outputs");
    mkdirSync(outputs, { recursive: true });
    // What lies above is no package of the reader's.
    writeFileSync(join(directory, "package.json"), "{}");
    const script = blocks.map((block) => this.#step(block)).join("\n");
    const { status, signal } = await this.#run(`cd ${directory}\n${script}`, outputs);
    const done = readFileSync(join(outputs, "last"), "utf8").trim();
    if (status !== 0) {
      const said = readFileSync(join(outputs, done), "utf8").split("\n").slice(-30).join("\n");
      throw new Error(`${document}:${done} failed (${status ?? signal}):\n${said}`);
    }
    for (const { line, language, text, anyFigures } of blocks.filter(({ language }) => language === "console")) {
      const outputOf = (index: number) => readFileSync(join(outputs, `${line}.${index}`), "utf8");
      for (const [index, { command, output }] of transcript(text).entries()) {
        if (isShown(this.substituted(output), outputOf(index), anyFigures)) continue;
        throw new Error(`${document}:${line}: ${language} ${command} prints\n${outputOf(index)}`);
      }
    }
  }

  #step({ line, language, text, file, before = "", then = "" }: DocBlock): string {
    const begin = `echo ${line} > $OUTPUTS/last; exec > $OUTPUTS/${line} 2>&1`;
    const commands = file === undefined ? this.#commands(language, text, line) : keep(file, this.substituted(text));
    return [begin, this.substituted(before), commands, this.substituted(then)].join("\n");
  }

  #commands(language: string, text: string, line: number): string {
    const own = this.substituted(text);
    switch (language) {
      case "sh":
        return own;
      case "console":
        return (
          transcript(own)
            // Some commands shown end with another status than 0.
            .map(({ command }, index) => `(${command}) > $OUTPUTS/${line}.${index} 2>&1 || true`)
            .join("\n")
        );
      case "js":
        return `${keep(`line-${line}.mjs`, own)}node line-${line}.mjs`;
      case "json":
        return `${keep(`line-${line}.json`, own)}node -e 'JSON.parse(fs.readFileSync("line-${line}.json"))'`;
      case "nix":
        return `${keep(`line-${line}.nix`, own)}nix-instantiate --parse line-${line}.nix`;
      case "yaml":
        return recipe(own);
      default:
        throw new Error(`line ${line}: blocks of ${language} are not run by anything`);
    }
  }

  async #shell(script: string): Promise<string> {
    return await runOk("unshare", this.#inside(script), { env: this.#environment, timeoutMs: LIMIT_MS });
  }

  async #run(script: string, outputs: string) {
    const options = { env: { ...this.#environment, OUTPUTS: outputs }, timeoutMs: LIMIT_MS };
    return await runCommand("unshare", this.#inside(script), options);
  }

  /** Its store is the machine's only for what runs here. */
  #inside(script: string): readonly string[] {
    const { storeRoot } = this.#options.store;
    const mount = `mkdir -p /nix && mount --bind "$0/nix" /nix`;
    const file = join(this.#options.directory, "script");
    writeFileSync(file, `set -euo pipefail\n${script}\n`);
    chmodSync(file, 0o755);
    return ["--mount", "--propagation", "private", "bash", "-c", `${mount} && exec bash "$1"`, storeRoot, file];
  }
}

/** A shell's command that writes a file as it is. */
function keep(file: string, text: string): string {
  return `cat > ${file} <<'END-OF-FILE'\n${text}END-OF-FILE\n`;
}

interface Workflow {
  readonly jobs?: Readonly<Record<string, { readonly steps: readonly { readonly run?: string }[] }>>;
}

/** The commands of a CI system's file: GitHub's steps that run something, or GitLab's scripts. */
function recipe(text: string): string {
  const file = parse(text) as Workflow & Readonly<Record<string, unknown>>;
  const steps = Object.values(file.jobs ?? {}).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
  const scripts = Object.values(file).flatMap((job) => {
    const { before_script = [], script = [] } = job as Readonly<Record<string, readonly string[]>>;
    return [...before_script, ...script];
  });
  const commands = [...steps, ...scripts];
  if (commands.length === 0) throw new Error("a recipe that runs nothing");
  return commands.join("\n");
}
