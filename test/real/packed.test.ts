import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliOptions, PROJECT, runCli } from "../support/cli.js";
import { type CommandResult, expectOk, runOk } from "../support/command.js";
import { hexSha256 } from "../support/confs.js";
import { startRegistry } from "../support/registry.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools, tool } from "../support/tools.js";

/** Packages whose install scripts fetch or compile what the project's own copies have already. */
const COMPILED = ["better-sqlite3", "zstd-napi"] as const;

const MAX_PACKED_BYTES = 1_000_000;

let directory: string;
let tarball: string;
/** Somebody's project, in which the packed file is installed. Its path has a space. */
let consumer: string;
/** Of the ordinary user who runs the program there. */
let home: string;
/** Where npm puts programs of the whole machine. */
let prefix: string;
let program: string;
let store: SampleStore;
let root: string;

/** Who runs what root installed. */
const USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

const run = (args: readonly string[], options: CliOptions = {}): Promise<CommandResult> =>
  runCli(args, { program, cwd: consumer, ...USER, env: { HOME: home, XDG_CACHE_HOME: undefined }, ...options });

const npm = (args: readonly string[], cwd: string): Promise<string> =>
  runOk(tool("npm"), [...args, "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"], { cwd });

async function pack(from: string, to: string): Promise<string> {
  const options = ["--ignore-scripts", "--json", "--pack-destination", to];
  const [{ filename }] = JSON.parse(await npm(["pack", ...options], from)) as [{ readonly filename: string }];
  return join(to, filename);
}

async function install(folder: string, ...flags: readonly string[]): Promise<void> {
  await npm(["install", "--ignore-scripts", "--prefer-offline", ...flags, tarball], folder);
}

function addCompiled(modules: string): void {
  const versionIn = (at: string, name: string): unknown =>
    (JSON.parse(readFileSync(join(at, name, "package.json"), "utf8")) as { readonly version: unknown }).version;
  for (const name of COMPILED) {
    const own = join(PROJECT, "node_modules");
    expect(versionIn(modules, name)).toBe(versionIn(own, name));
    cpSync(join(own, name, "build", "Release"), join(modules, name, "build", "Release"), {
      recursive: true,
      filter: (file) => !file.includes("obj"),
    });
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-packed-"));
  chmodSync(directory, 0o755);
  tarball = await pack(PROJECT, directory);
  consumer = join(directory, "some project");
  mkdirSync(consumer);
  writeFileSync(join(consumer, "package.json"), '{ "private": true, "type": "module" }');
  home = join(directory, "home");
  mkdirSync(home);
  for (const path of [consumer, home]) chmodSync(path, 0o777);
  prefix = join(directory, "global");
  await Promise.all([install(consumer), install(directory, "--global", "--prefix", prefix)]);
  program = join(consumer, "node_modules", "oci-nix", "bin", "oci-nix.js");
  store = copySampleStore(directory);
  const paths = JSON.parse(readFileSync(store.closureFile, "utf8")) as readonly { readonly path: string }[];
  root = paths.find(({ path }) => path.includes("-greeting-environment-"))?.path as string;
}, 60_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const closure = (): readonly string[] => [root, "--store-root", store.storeRoot, "--closure", store.closureFile];

/** How each command is run, in this order, as later ones take what earlier ones made. */
const RUNS: Readonly<Record<string, () => Promise<unknown>>> = {
  stream: async () => {
    const { stdout } = expectOk(await run(["stream", ...closure(), "--name", "app"]), "stream");
    writeFileSync(join(consumer, "app.tar"), stdout);
    expect(hexSha256(stdout)).toBe(
      hexSha256(expectOk(await runCli(["stream", ...closure(), "--name", "app"]), "own").stdout),
    );
  },
  // zstd is compiled for the machine, and so is SQLite, in which the cache is.
  build: async () =>
    expect(await output("build", ...closure(), "--to", "oci:layout:1", "--compression", "zstd")).toMatch(/^sha256:/),
  push: async () => {
    const registry = await startRegistry();
    try {
      expect(await output("push", ...closure(), `docker://${registry.host}/app:1`)).toMatch(/^sha256:/);
    } finally {
      await registry.stop();
    }
  },
  shell: async () =>
    expect(await run(["shell", `/nix/store/${"0".repeat(32)}-x.drv`])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^error: .*-x\.drv/),
    }),
  copy: async () =>
    expect(await output("copy", "oci:layout:1", "docker-archive:copy.tar:app:1", "--compression", "gzip")).toMatch(
      /^sha256:/,
    ),
  merge: async () =>
    output("merge", "docker-archive:app.tar", "docker-archive:copy.tar", "--to", "docker-archive:both.tar"),
  plan: async () => {
    await output("plan", ...closure(), "--html", "plan.html");
    const page = readFileSync(join(consumer, "plan.html"), "utf8");
    // The script in it is a file of the package.
    expect(page.includes('addEventListener("click"')).toBe(true);
    expect(page.includes("greeting-environment")).toBe(true);
  },
  closure: async () => {
    const text = await output("closure", ...closure());
    expect(text).toContain(root);
    writeFileSync(join(consumer, "graph.json"), text);
  },
  schema: async () => {
    expect(JSON.parse(await output("schema"))).toHaveProperty("$schema");
    expect(JSON.parse(await output("schema", "disk"))).toHaveProperty("$schema");
  },
  inspect: async () => expect(await output("inspect", "oci:layout:1")).toContain("zstd"),
  validate: async () => output("validate", "oci:layout:1"),
  verify: async () => output("verify", "oci:layout:1", ...closure()),
  diff: async () => expect(await run(["diff", "oci:layout:1", "oci:layout:1"])).toMatchObject({ status: 0 }),
  export: async () => expect((await run(["export", "oci:layout:1"])).stdout.length).toBeGreaterThan(10_240),
  disk: async () => {
    writeFileSync(join(consumer, "disk.json"), JSON.stringify({ fromImage: "oci:layout:1" }));
    await output("disk", "disk.json", "--to", "disk.img", "--table", "none");
  },
  "disk verify": async () => expect(await output("disk", "verify", "disk.img")).toContain("ext4"),
  "nix-db": async () => {
    const owner = "uid" in USER ? ["--uid", `${USER.uid}`, "--gid", `${USER.gid}`] : [];
    await output("nix-db", ...closure(), "--to", "db", ...owner);
    expect(existsSync(join(consumer, "db", "nix", "var", "nix", "db", "db.sqlite"))).toBe(true);
  },
  "cache info": async () => expect(await output("cache", "info")).toMatch(/and [1-9]\d* packed layers/),
  "cache prune": async () => output("cache", "prune", "--older-than", "1"),
  "cache export": async () => output("cache", "export", "digests"),
  "cache import": async () => output("cache", "import", "digests"),
  completion: async () => {
    for (const shell of ["bash", "zsh", "fish"]) expect(await output("completion", shell)).toContain("oci-nix");
  },
  "n2c layers-from-reproducible-storepaths": async () => n2c("layers-from-reproducible-storepaths", "layers.json"),
  "n2c layers-from-non-reproducible-storepaths": async () =>
    n2c("layers-from-non-reproducible-storepaths", "kept.json", "--tar-directory", "."),
  "n2c image": async () => {
    writeFileSync(join(consumer, "config.json"), "{}");
    await output("n2c", "image", "image.json", "config.json", "layers.json");
  },
  "n2c image-from-dir": async () => {
    makePulled("pulled");
    await output("n2c", "image-from-dir", "pulled.json", "pulled");
  },
  "n2c image-from-manifest": async () => {
    const { manifest } = makePulled("pulled");
    writeFileSync(join(consumer, "blobs.json"), "{}");
    const result = await run(["n2c", "image-from-manifest", "x.json", manifest, "blobs.json"]);
    expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(/^error: blobs\.json/) });
  },
};

async function output(...args: readonly string[]): Promise<string> {
  return expectOk(await run(args), args.join(" ")).stdout.toString();
}

async function n2c(command: string, file: string, ...flags: readonly string[]): Promise<void> {
  const graph = join(consumer, "graph.json");
  await output("n2c", command, file, graph, ...flags, "--store-root", store.storeRoot);
  expect(JSON.parse(readFileSync(join(consumer, file), "utf8"))).toHaveLength(1);
}

/** The layout's image as skopeo's `dir:` holds it. */
function makePulled(name: string): { readonly manifest: string } {
  const layout = join(consumer, "layout");
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
    readonly manifests: readonly [{ readonly digest: string }];
  };
  const blobs = join(layout, "blobs", "sha256");
  mkdirSync(join(consumer, name), { recursive: true });
  for (const blob of readdirSync(blobs)) cpSync(join(blobs, blob), join(consumer, name, blob));
  const manifest = join(name, "manifest.json");
  cpSync(join(blobs, index.manifests[0].digest.slice("sha256:".length)), join(consumer, manifest));
  writeFileSync(join(consumer, name, "version"), "Directory Transport Version: 1.1\n");
  return { manifest };
}

describe.skipIf(requireTools("npm", "docker-registry", "tar"))("the packed file", () => {
  it("holds the program, its documentation and nothing else", async () => {
    const files = (await runOk(tool("tar"), ["-tzf", tarball])).trimEnd().split("\n");
    const others = files
      .map((file) => file.replace(/^package\//, ""))
      .filter((file) => {
        const [, source] = /^dist\/(.*?)(?:\.d\.ts|(?<=^dist\/report\/client\/.*)\.js)$/.exec(file) ?? [];
        if (source !== undefined) return !existsSync(join(PROJECT, "src", `${source}.ts`));
        return !/^(?:dist\/bundle\/[a-z0-9-]+\.js|dist\/man\/oci-nix[a-z0-9-]*\.1|docs\/.*|bin\/oci-nix\.js|(?:README|CHANGELOG)\.md|LICENSE|package\.json)$/.test(
          file,
        );
      });
    expect(others).toEqual([]);
    expect(files).toContain("package/dist/report/client/main.js");
    expect(statSync(tarball).size).toBeLessThan(MAX_PACKED_BYTES);
  });

  it("has every module once, be it for the program, its threads or the library", () => {
    const bundle = join(consumer, "node_modules", "oci-nix", "dist", "bundle");
    const modules = readdirSync(bundle).flatMap((chunk) =>
      [...readFileSync(join(bundle, chunk), "utf8").matchAll(/^\/\/(?:#region)? (dist\/\S+\.js)$/gm)].map(
        ([, name]) => name,
      ),
    );
    for (const name of ["dist/cli/main.js", "dist/core/errors.js", "dist/build/pipeline/worker.js"])
      expect(modules.filter((module) => module === name)).toEqual([name]);
    expect(modules).toHaveLength(new Set(modules).size);
  });

  it("has everything that its documentation links to", () => {
    const packed = join(consumer, "node_modules", "oci-nix");
    const pages = [...readdirSync(join(packed, "docs")).map((name) => join("docs", name)), "README.md", "CHANGELOG.md"];
    const missing = pages
      .filter((page) => page.endsWith(".md"))
      .flatMap((page) =>
        [...readFileSync(join(packed, page), "utf8").matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)]
          .map(([, link]) => normalize(join(dirname(page), link as string)))
          .filter((link) => !existsSync(join(packed, link)))
          .map((link) => `${page}: ${link}`),
      );
    expect(missing).toEqual([]);
  });

  it("has the same bytes when it is packed elsewhere, at another time", async () => {
    const copy = join(directory, "copy");
    mkdirSync(copy);
    await runOk(tool("tar"), ["-xzf", tarball, "-C", copy]);
    const folder = join(copy, "package");
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }))
      utimesSync(join(folder, file), 1e9, 1e9);
    expect(hexSha256(readFileSync(await pack(folder, copy)))).toBe(hexSha256(readFileSync(tarball)));
    // What npm would put right when it is published: nothing.
    await npm(["pkg", "fix"], folder);
    const [fixed, own] = [folder, PROJECT].map((at) => JSON.parse(readFileSync(join(at, "package.json"), "utf8")));
    expect(fixed).toEqual(own);
  });

  it("says what is missing where npm ran no install scripts", async () => {
    for (const args of [
      ["nix-db", ...closure(), "--to", "none"],
      ["build", ...closure(), "--to", "oci:none", "--compression", "zstd"],
    ]) {
      const { status, stderr } = await run(args);
      expect(stderr).toMatch(/^error: (?:better-sqlite3|zstd-napi): the compiled part of it is missing/m);
      expect(stderr).toMatch(/hint: .*npm rebuild (?:better-sqlite3|zstd-napi)/);
      expect(status).toBe(1);
    }
  });

  describe("installed", () => {
    beforeAll(() => addCompiled(join(consumer, "node_modules")));

    it("has a run of every command here", async () => {
      const listed = async (...words: readonly string[]): Promise<readonly string[]> => {
        const text = (await output(...words, "--help")) as string;
        const names = [...text.matchAll(/^ {2}([a-z0-9][a-z0-9-]*) {2,}\S/gm)].map(([, name]) => name as string);
        const below = await Promise.all(names.map((name) => listed(...words, name)));
        const own = words.length > 0 && text.includes("[flags]") ? [words.join(" ")] : [];
        return [...own, ...below.flat()];
      };
      expect([...(await listed())].sort()).toEqual(Object.keys(RUNS).sort());
    });

    it.each(Object.keys(RUNS))("runs %s", async (command) => {
      await RUNS[command]?.();
    });

    it("is a library for JavaScript, and for TypeScript that is strict and checks all declarations", async () => {
      writeFileSync(
        join(consumer, "use.ts"),
        `import { checkSpec, digestLayers, type ImageSpec, OciNixError, planImage, toJson } from "oci-nix";
const spec: ImageSpec = checkSpec(
  toJson({ name: "app", closure: { graph: process.argv[2], storeRoot: process.argv[3] } }),
  "app",
);
const layers = await digestLayers(await planImage(spec));
const sizes: readonly number[] = layers.map(({ size }) => size);
console.log(sizes.length, new OciNixError("usage", "x").code);
`,
      );
      const strict = [
        "--strict",
        "--noUncheckedIndexedAccess",
        "--exactOptionalPropertyTypes",
        "--skipLibCheck",
        "false",
      ];
      const tsc = [join(PROJECT, "node_modules", "typescript", "bin", "tsc"), ...strict];
      await runOk(
        process.execPath,
        [
          ...tsc,
          "--ignoreConfig",
          "--module",
          "nodenext",
          "--target",
          "es2023",
          "--lib",
          "es2023",
          "--types",
          "node",
          "use.ts",
        ],
        { cwd: consumer },
      );
      const printed = await runOk(process.execPath, ["use.js", store.closureFile, store.storeRoot], { cwd: consumer });
      expect(printed).toMatch(/^[1-9]\d* usage\n$/);
    }, 60_000);
  });

  it("puts the program and its manual where npm puts those of the whole machine", async () => {
    const version = await runOk(join(prefix, "bin", "oci-nix"), ["--version"], { env: { PATH: process.env.PATH } });
    const { version: own, man } = JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8"));
    expect(version).toBe(`${own}\n`);
    const pages = readdirSync(join(prefix, "share", "man", "man1"));
    expect(pages).toHaveLength(man.length);
    for (const page of pages)
      expect(readFileSync(join(prefix, "share", "man", "man1", page), "utf8")).toMatch(/^\.TH /);
  }, 60_000);
});
