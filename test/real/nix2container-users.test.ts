import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCli } from "../support/cli.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";
import { makeStore } from "../support/vectors.js";

// What nix2container's own tests show, shown with oci-nix and a real Docker: the images of its examples, run.

const LIMIT_MS = 120_000;
const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const BUSYBOX = path("a", "busybox");
const ENV = path("b", "env");
const BASE = path("c", "base");
const NIX = path("d", "nix-directories");
const PROGRAM = path("f", "program");

const sh = `${BUSYBOX}/bin/busybox`;

describe.skipIf(requireTools("busybox", ...ENGINE_TOOLS.docker))("an image as nix2container's examples", () => {
  let docker: Docker;
  let directory: string;
  let closure: { readonly storeRoot: string; readonly graph: string };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-n2c-users-"));
    const store = makeStore({
      [BUSYBOX]: [
        { path: "", type: "directory", mode: 0o755 },
        { path: "bin", type: "directory", mode: 0o755 },
      ],
      [ENV]: [
        { path: "", type: "directory", mode: 0o555 },
        { path: "bin", type: "directory", mode: 0o555 },
        { path: "bin/sh", type: "symlink", target: sh },
        { path: "bin/stat", type: "symlink", target: sh },
      ],
      [BASE]: [
        { path: "", type: "directory", mode: 0o555 },
        { path: "tmp", type: "directory", mode: 0o555 },
        { path: "tmp/file", type: "file", text: "in tmp", mode: 0o444 },
        { path: "etc", type: "directory", mode: 0o555 },
        { path: "etc/motd", type: "file", text: "hello\n", mode: 0o444 },
        { path: "etc/shadow", type: "file", text: "root:!:::::::\n", mode: 0o444 },
        { path: "home", type: "directory", mode: 0o555 },
        { path: "home/user", type: "directory", mode: 0o555 },
      ],
      [NIX]: [
        { path: "", type: "directory", mode: 0o555 },
        { path: "nix", type: "directory", mode: 0o555 },
        { path: "nix/store", type: "directory", mode: 0o555 },
      ],
      [PROGRAM]: [
        { path: "", type: "directory", mode: 0o555 },
        { path: "program", type: "file", text: `#!${sh} sh\necho it runs\n`, mode: 0o555 },
      ],
    });
    copyFileSync(tool("busybox"), join(store.root, sh));
    const graph = join(directory, "graph.json");
    const references: Record<string, string[]> = { [ENV]: [BUSYBOX], [PROGRAM]: [BUSYBOX] };
    const objects = [BUSYBOX, ENV, BASE, NIX, PROGRAM].map((path) => ({ path, references: references[path] ?? [] }));
    writeFileSync(graph, JSON.stringify(objects));
    closure = { storeRoot: store.root, graph };
    docker = await startDocker();
  }, LIMIT_MS);

  afterAll(async () => {
    await docker?.stop();
    rmSync(directory, { recursive: true, force: true });
    if (closure !== undefined) rmSync(closure.storeRoot, { recursive: true, force: true });
  }, LIMIT_MS);

  /** Streams the image into Docker. */
  async function load(name: string, roots: readonly string[], others: object = {}): Promise<void> {
    const spec = join(directory, `${name}.json`);
    mkdirSync(dirname(spec), { recursive: true });
    writeFileSync(spec, JSON.stringify({ name, tag: "1", closure: { ...closure, roots }, ...others }));
    const running = startCli(["stream", spec, "--quiet"]);
    await docker.ok(["load"], { stdin: running.stdout });
    expect(await running.ended).toMatchObject({ status: 0 });
  }
  const run = (name: string, ...command: string[]) => docker.ok([...RUN_OPTIONS, `${name}:1`, ...command]);
  const layersOf = async (name: string) =>
    JSON.parse(await docker.ok(["inspect", "--format", "{{json .RootFS.Layers}}", `${name}:1`])) as string[];

  it("hello: runs a program of the store by its entrypoint", { timeout: LIMIT_MS }, async () => {
    await load("hello", [BUSYBOX], { config: { Entrypoint: [sh, "echo", "hello"] } });
    expect(await run("hello")).toBe("hello\n");
  });

  it("basic: takes Env and Cmd", { timeout: LIMIT_MS }, async () => {
    await load("basic", [BUSYBOX], { config: { Cmd: [sh, "sh", "-c", "echo $WORD"], Env: ["WORD=basic"] } });
    expect(await run("basic")).toBe("basic\n");
  });

  it("layered: has at most maxLayers layers", { timeout: LIMIT_MS }, async () => {
    await load("layered", [PROGRAM, ENV, BASE], { maxLayers: 3 });
    expect(await layersOf("layered")).toHaveLength(3);
    expect(await run("layered", `${PROGRAM}/program`)).toBe("it runs\n");
  });

  it("openbar: gives /tmp mode 0777", { timeout: LIMIT_MS }, async () => {
    const perms = [{ path: BASE, regex: "/tmp$", mode: "0777" }];
    await load("openbar", [BUSYBOX], { copyToRoot: [BASE, ENV], perms });
    expect(await run("openbar", "/bin/stat", "-c", "%a", "/tmp")).toBe("777\n");
  });

  it("bash: has a shell in /bin, and what is copied to the root runs", { timeout: LIMIT_MS }, async () => {
    await load("shell", [], { copyToRoot: [ENV, PROGRAM] });
    expect(await run("shell", "/bin/sh", "-c", "echo a shell; /program")).toBe("a shell\nit runs\n");
  });

  it("ownership: gives files to 1001:1001; those that no rule matches stay as they are", {
    timeout: LIMIT_MS,
  }, async () => {
    const perms = [
      { path: BASE, regex: "/home/user", mode: "0700", uid: 1001, gid: 1001, uname: "user", gname: "user" },
    ];
    await load("ownership", [BUSYBOX], { copyToRoot: [BASE, ENV], perms });
    const stat = await run(
      "ownership",
      "/bin/stat",
      "-c",
      "%n %a %u:%g",
      "/home/user",
      "/home",
      "/etc/motd",
      "/etc/shadow",
    );
    expect(stat.split("\n").slice(0, 4)).toEqual([
      "/home/user 700 1001:1001",
      "/home 555 0:0",
      "/etc/motd 444 0:0",
      "/etc/shadow 444 0:0",
    ]);
  });

  it("nested: layers build on those before them", { timeout: LIMIT_MS }, async () => {
    const layers = [{ deps: [BUSYBOX] }, { deps: [ENV] }, { deps: [PROGRAM] }];
    await load("nested", [PROGRAM, ENV], { layers });
    expect(await layersOf("nested")).toHaveLength(3);
    expect(await run("nested", `${PROGRAM}/program`)).toBe("it runs\n");
  });

  it("/nix: has the mode that a rule gives it, in whichever layer", { timeout: LIMIT_MS }, async () => {
    const perms = [
      { path: NIX, regex: "/nix$", mode: "0755" },
      { path: NIX, regex: "/nix/store$", mode: "1775", uid: 1000, gid: 1000 },
    ];
    for (const [name, layers] of [
      ["nix-below", [{ copyToRoot: [NIX], perms }]],
      ["nix-above", [{ deps: [BUSYBOX] }, { copyToRoot: [NIX], perms }]],
    ] as const) {
      await load(name, [BUSYBOX], { copyToRoot: [ENV], layers });
      expect(await run(name, "/bin/stat", "-c", "%a %u", "/nix", "/nix/store")).toBe("755 0\n1775 1000\n");
    }
  });

  it("created: says when", { timeout: LIMIT_MS }, async () => {
    await load("created", [BUSYBOX], { created: "2023-01-02T03:04:05Z" });
    expect(await docker.ok(["inspect", "--format", "{{.Created}}", "created:1"])).toBe("2023-01-02T03:04:05Z\n");
  });

  it("duplicated: has exactly two layers where the second asks for what the first has", {
    timeout: LIMIT_MS,
  }, async () => {
    const layers = [{ deps: [BUSYBOX] }, { deps: [BUSYBOX] }, { deps: [PROGRAM] }];
    await load("duplicated", [PROGRAM], { layers });
    expect(await layersOf("duplicated")).toHaveLength(2);
  });

  it("metadata: created_by, author and comment stand in the history", { timeout: LIMIT_MS }, async () => {
    const history = { created_by: "test created_by", author: "test author", comment: "test comment" };
    await load("metadata", [PROGRAM], { layers: [{ deps: [BUSYBOX], history }] });
    const shown = await docker.ok(["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "metadata:1"]);
    expect(shown.trim().split("\n").at(-1)).toBe("test created_by|test comment");
  });
});
