import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { DockertoolsFunction } from "../../src/index.js";
import { PROJECT, runCli, startCli } from "./cli.js";
import { expectOk, runOk } from "./command.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "./daemons.js";
import { tool } from "./tools.js";

/** As long as Docker may take to load an image. */
const LIMIT_MS = 120_000;

/** What {@link Acceptance} needs. */
export const ACCEPTANCE_TOOLS = [
  ...ENGINE_TOOLS.docker,
  "nix-build",
  "nix-store",
  "busybox",
  "bwrap",
  "fakeroot",
] as const;

/** What test/acceptance/store.nix has by name. */
export type AcceptancePath = "hello" | "chain" | "busybox" | "stranger" | "symlink" | "cacert";

/** What `docker image inspect` tells of an image, as far as it is looked at. */
export interface DockerImage {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly Created: string;
  readonly Architecture: string;
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly Config: {
    readonly Env: readonly string[] | null;
    readonly Cmd: readonly string[] | null;
    readonly Entrypoint: readonly string[] | null;
    readonly User: string;
    readonly WorkingDir: string;
  };
}

/** What the command line's `--json` tells of an image. */
export interface Summary {
  readonly repoTags: readonly string[];
  readonly imageId: string;
  readonly layers: readonly { readonly diffId: string; readonly storePaths: readonly string[] }[];
}

/** A small store that real Nix builds, and a Docker of its own: what all points of the acceptance list are tried with. */
export class Acceptance {
  #directory = "";
  #docker: Docker | undefined;
  #paths: Readonly<Record<AcceptancePath, string>> | undefined;

  async start(): Promise<void> {
    this.#directory = mkdtempSync(join(tmpdir(), "oci-nix-acceptance-"));
    const expression = ["--argstr", "busybox", tool("busybox"), join(PROJECT, "test/acceptance/store.nix")];
    await this.nix("nix-build", "--no-out-link", "-A", "all", ...expression);
    this.#paths = JSON.parse(
      await this.nix("nix-instantiate", "--eval", "--strict", "--json", "-A", "paths", ...expression),
    );
    this.#docker = await startDocker();
  }

  async stop(): Promise<void> {
    await this.#docker?.stop();
    if (this.#directory === "") return;
    await runOk("chmod", ["-R", "u+w", this.#directory]);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** For files of tests: of names that no other test uses. */
  file(name: string): string {
    return join(this.#directory, name);
  }

  get storeRoot(): string {
    return this.file("root");
  }

  get docker(): Docker {
    if (this.#docker === undefined) throw new Error("not started");
    return this.#docker;
  }

  /** Logical store path. */
  path(name: AcceptancePath): string {
    if (this.#paths === undefined) throw new Error("not started");
    return this.#paths[name];
  }

  /** Runs Nix on the store, with nothing of this machine's configuration; gives its standard output. */
  async nix(command: string, ...args: readonly string[]): Promise<string> {
    const options = [
      ...[
        "--store",
        `local?root=${this.storeRoot}`,
        "--option",
        "build-users-group",
        "",
        "--option",
        "substituters",
        "",
      ],
      // A store below a root of its own is built in a chroot, which holds nothing of the machine unless told so.
      ...["--option", "sandbox", "false", "--option", "sandbox-paths", "/bin /usr /lib? /lib64?"],
    ];
    // Nix makes its state directory even where the store is below another root.
    const env = {
      ...process.env,
      NIX_STATE_DIR: this.file("state"),
      NIX_CONF_DIR: "/nonexistent",
      NIX_USER_CONF_FILES: "",
      NIX_CONFIG: "",
      NIX_PATH: "",
    };
    return await runOk(command, [...options, ...args], { env });
  }

  /** The store paths that Nix says are in the closures. */
  async requisites(...paths: readonly string[]): Promise<readonly string[]> {
    return (await this.nix("nix-store", "--query", "--requisites", ...paths)).trimEnd().split("\n").sort();
  }

  /** Writes the spec of an image of the store; gives the file. */
  spec(name: string, fields: object): string {
    const file = this.file(`${name.replaceAll("/", "-")}.json`);
    const { closure = {}, ...others } = fields as { readonly closure?: object };
    writeFileSync(
      file,
      JSON.stringify({ name, tag: "1", ...others, closure: { storeRoot: this.storeRoot, ...closure } }),
    );
    return file;
  }

  /** Writes the image of a spec as an archive; gives the file. */
  async archive(name: string, fields: object): Promise<string> {
    const stdoutFile = this.file(`${name.replaceAll("/", "-")}.tar`);
    expectOk(await runCli(["stream", this.spec(name, fields)], { stdoutFile }), "stream");
    return stdoutFile;
  }

  /** Writes arguments of a function of dockerTools; gives the flags that take them. */
  arguments(called: DockertoolsFunction, name: string, fields: object, storeRoot = this.storeRoot): readonly string[] {
    const file = this.file(`${name.replaceAll("/", "-")}.arguments.json`);
    writeFileSync(file, JSON.stringify({ name, tag: "1", ...fields }));
    return ["--dockertools-args", file, "--dockertools-function", called, "--store-root", storeRoot];
  }

  /** Streams the image that a function of dockerTools makes of arguments into Docker. */
  async call(called: DockertoolsFunction, name: string, fields: object): Promise<Summary> {
    return await this.loadInput(this.arguments(called, name, fields));
  }

  /** As {@link call}, of an image that becomes the base of others; gives its archive. */
  async callForBase(called: DockertoolsFunction, name: string, fields: object): Promise<string> {
    const archive = await this.callForArchive(called, name, fields);
    await this.docker.ok(["load"], { stdin: { file: archive } });
    return archive;
  }

  /** The archive that a function of dockerTools makes of arguments. */
  async callForArchive(called: DockertoolsFunction, name: string, fields: object): Promise<string> {
    const stdoutFile = this.file(`${name.replaceAll("/", "-")}.tar`);
    expectOk(await runCli(["stream", ...this.arguments(called, name, fields)], { stdoutFile }), "stream");
    return stdoutFile;
  }

  /** Streams the image of a spec into Docker. */
  async load(name: string, fields: object): Promise<Summary> {
    return await this.loadInput([this.spec(name, fields)]);
  }

  /** Streams the image that a command makes of an input and flags into Docker. */
  async loadInput(args: readonly string[], command = "stream"): Promise<Summary> {
    const running = startCli([command, "--json", ...args], { timeoutMs: LIMIT_MS });
    const loaded = this.docker.run(["load"], { stdin: running.stdout });
    const { status, stderr } = await running.ended;
    expect(status, stderr).toBe(0);
    expectOk(await loaded, "docker load");
    return JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "") as Summary;
  }

  /** Unpacks the root file system of the image at a place into a new directory. */
  async unpack(place: string, directory: string): Promise<void> {
    mkdirSync(directory);
    const exported = expectOk(await runCli(["export", place]), "export");
    await runOk("tar", ["-xp", "--numeric-owner", "-C", directory], { stdin: exported.stdout });
  }

  /** Runs a command in a container; gives its standard output. */
  async run(image: string, ...command: readonly string[]): Promise<string> {
    return await this.runWith([], image, ...command);
  }

  /** As {@link run}, with more of the options of `docker run`. */
  async runWith(options: readonly string[], image: string, ...command: readonly string[]): Promise<string> {
    return await this.docker.ok([...RUN_OPTIONS, ...options, image, ...command]);
  }

  async inspect(image: string): Promise<DockerImage> {
    return JSON.parse(await this.docker.ok(["image", "inspect", image]))[0] as DockerImage;
  }
}
