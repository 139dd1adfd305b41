import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk, runOk } from "../support/command.js";
import { hexSha256, packTar, unpackTar } from "../support/confs.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools } from "../support/tools.js";

interface Layer {
  readonly digest: string;
  readonly size: number;
  readonly paths?: readonly { readonly path: string }[];
  readonly "layer-path"?: string;
}

const LAYERS = "layers-from-reproducible-storepaths";
const KEPT = "layers-from-non-reproducible-storepaths";
const TAR = "application/vnd.oci.image.layer.v1.tar";
const FILE = "/nix/store/00000000000000000000000000000000-file";

let directory: string;
let store: SampleStore;
let paths: readonly string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-n2c-"));
  store = copySampleStore(directory);
  paths = (JSON.parse(readFileSync(store.closureFile, "utf8")) as { path: string }[]).map(({ path }) => path);
  return () => rmSync(directory, { recursive: true, force: true });
});

const n2c = (...args: string[]) => runCli(["n2c", ...args], { cwd: directory });
const layers = (command: string, ...args: string[]) => n2c(command, ...args, "--store-root", store.storeRoot);
const read = (name: string): string => readFileSync(join(directory, name), "utf8");
const readLayers = (name: string) => JSON.parse(read(name)) as readonly Layer[];

function file(name: string, content: unknown): string {
  writeFileSync(join(directory, name), Buffer.isBuffer(content) ? content : JSON.stringify(content));
  return name;
}

/** One line and its hint at most, and never a stack trace. */
function expectError(result: CommandResult, status: number, message: RegExp | string): void {
  expect(result.stderr).toMatch(message);
  expect(result.stderr).toMatch(/^error: [^\n]+\n(?: {2}hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
  expect(result.status).toBe(status);
}

describe("the group of commands", () => {
  it("is in the help, and has help of its own", async () => {
    expect(expectOk(await n2c("--help"), "help").stdout.toString()).toMatch(
      /^oci-nix n2c COMMAND\n(?:.*\n)* {2}image-from-manifest /,
    );
    const help = expectOk(await n2c(LAYERS, "--help"), "help").stdout.toString();
    expect(help).toMatch(
      /^oci-nix n2c layers-from-reproducible-storepaths OUTPUT GRAPH \[PARENT-LAYERS\.\.\.\] \[flags\]/,
    );
    expect(help).toContain("--max-layers N");
    expect(help).not.toContain("--tar-directory");
    const other = await runCli(["help", "n2c", KEPT]);
    expect(expectOk(other, "help").stdout.toString()).toContain("--tar-directory");
    expect((await runCli(["--help"])).stdout.toString()).toMatch(/^ {2}n2c /m);
  });

  it.each([
    [[], "no command given after n2c"],
    [["imge"], /unknown command n2c imge\n.*did you mean n2c image\?/],
    [["--max-layers"], "unknown flag --max-layers"],
    [["image", "o", "c", "l", "--max-layers", "2"], "unknown flag --max-layers"],
    [[LAYERS, "o", "g", "--tar-directory", "d"], "unknown flag --tar-directory"],
    [[LAYERS, "o", "g", "--max-layers", "many"], '--max-layers takes a whole number, not "many"'],
    [[LAYERS, "o"], "OUTPUT and GRAPH must be given"],
    [["image", "o", "c"], "OUTPUT, CONFIG and LAYERS must be given"],
    [["image", "o", "c", "l", "--created", "yesterday"], '--created: "yesterday" is not a time'],
    [["image-from-dir", "o"], "OUTPUT and DIRECTORY must be given"],
    [["image-from-dir", "o", "d", "e"], 'too many arguments: "e"'],
    [["image-from-manifest", "o", "m"], "OUTPUT, MANIFEST and BLOBS must be given"],
  ])("refuses %j", async (args, message) => {
    expectError(await n2c(...args), 2, message);
  });
});

describe("layers files", () => {
  it.each([
    ["a graph that is not there", {}, ["absent.json"], "cannot read absent.json: no such file"],
    ["a graph that is no JSON", { graph: Buffer.from("[") }, ["graph"], "graph is not valid JSON"],
    [
      "a graph that is not closed",
      { graph: [{ path: FILE, references: [`${FILE}s`] }] },
      ["graph"],
      `${FILE} refers to ${FILE}s, which is not in it`,
    ],
    ["a path that is none of a store", { graph: [{ path: "/tmp/x", references: [] }] }, ["graph"], /"\/tmp\/x" is not/],
    ["a missing store path", { graph: [{ path: FILE, references: [] }] }, ["graph"], `are missing under`],
    [
      "an unknown key",
      { p: [{ path: FILE, regx: "" }] },
      ["GRAPH", "--perms", "p"],
      /p\[0\]: unknown key "regx"\n.*regex/,
    ],
    ["no path", { p: [{ regex: "" }] }, ["GRAPH", "--rewrites", "p"], "p[0].path must be a string that is not empty"],
    [
      "a mode",
      { p: [{ path: FILE, mode: "rwx" }] },
      ["GRAPH", "--perms", "p"],
      'an octal number up to 7777; found "rwx"',
    ],
    ["an id", { p: [{ path: FILE, uid: -1 }] }, ["GRAPH", "--perms", "p"], "p[0].uid must be a whole number"],
    ["a history", { h: { created: "x" } }, ["GRAPH", "--history", "h"], 'h.created: "x" is not a time'],
    ["a parent", { l: [{ digest: "md5:0" }] }, ["GRAPH", "l"], 'l: layers[0].digest: "md5:0" is not a sha256 digest'],
  ])("are not written for %s", async (_, files, args, message) => {
    for (const [name, content] of Object.entries(files)) file(name, content);
    file("out.json", "what was there");
    const given = args.map((arg) => (arg === "GRAPH" ? store.closureFile : arg));
    expectError(await layers(LAYERS, "out.json", ...given), 1, message);
    expect(read("out.json")).toBe('"what was there"');
    expect(readdirSync(directory).filter((name) => name.includes("tmp"))).toEqual([]);
  });

  it("names the store path of a regular expression that is none", async () => {
    const [path] = paths as [string];
    file("perms.json", [{ path, regex: "(?=x)" }]);
    const result = await layers(LAYERS, "out.json", store.closureFile, "--perms", "perms.json");
    expectError(result, 1, `a permission rule of ${path}: "(?=x)" is not an RE2 regular expression`);
    expect(existsSync(join(directory, "out.json"))).toBe(false);
  });

  it("refuse a rewrite to a relative path", async () => {
    const [path] = paths as [string];
    file("rewrites.json", [{ path, regex: "^/nix/store/", repl: "" }]);
    const result = await layers(LAYERS, "out.json", store.closureFile, "--rewrites", "rewrites.json");
    expectError(result, 1, /which is no absolute path/);
  });

  it("come with notes on what has no effect", async () => {
    writeFileSync(join(store.storeRoot, FILE), "text");
    file("graph.json", [{ path: FILE, references: [] }]);
    file("rewrites.json", [{ path: FILE, regex: `^${FILE}`, repl: "" }]);
    file("perms.json", [{ path: paths[0], regex: "" }]);
    const args = ["graph.json", "--rewrites", "rewrites.json", "--perms", "perms.json"];
    const { stderr } = expectOk(await layers(LAYERS, "out.json", ...args), "layers");
    expect(stderr).toContain(`note: ${FILE} is a single file, which its rewrite leaves without a name`);
    expect(stderr).toContain(`note: ${paths[0]} is not in graph.json`);
    expect(expectOk(await layers(LAYERS, "out.json", ...args, "--quiet"), "layers").stderr).toBe("");
    const json = JSON.parse(expectOk(await layers(LAYERS, "out.json", ...args, "--json"), "layers").stderr);
    expect(json).toMatchObject({ output: "out.json", layers: 1, size: 1024 });
    expect(json.notes).toHaveLength(2);
    const verbose = expectOk(await layers(LAYERS, "out.json", ...args, "--debug"), "layers").stderr;
    expect(verbose).toMatch(/^layer 1: sha256:[0-9a-f]{64}, 1\.02 kB, 1 store paths$/m);
  });

  it("are written to a pipe, and through a symlink", async () => {
    const args = ["n2c", LAYERS, "/dev/stdout", store.closureFile, "--store-root", store.storeRoot];
    // A shell's pipe: ours to a child is a socket, which has no path.
    const result = await runCli(args, { wrapper: ["sh", "-c", '"$@" | cat', "sh"] });
    const text = expectOk(result, "layers").stdout.toString();
    expect(text).toMatch(/^\[\n\t\{\n\t\t"digest"/);
    await runOk("ln", ["-s", "real.json", join(directory, "link.json")]);
    file("real.json", "");
    expectOk(await layers(LAYERS, "link.json", store.closureFile), "layers");
    expect(read("real.json")).toBe(text);
  });
});

describe("layers that are kept", () => {
  it("each hold their own store paths (nix2container issue #219)", async () => {
    mkdirSync(join(directory, "tars"));
    const args = [store.closureFile, "--max-layers", "3"];
    expectOk(await layers(KEPT, "kept.json", ...args, "--tar-directory", "tars"), "layers");
    expectOk(await layers(LAYERS, "out.json", ...args), "layers");
    const kept = readLayers("kept.json");
    expect(kept).toHaveLength(3);
    expect(kept.map(({ "layer-path": _, ...layer }) => layer)).toEqual(readLayers("out.json"));
    expect(readdirSync(join(directory, "tars"))).toHaveLength(3);
    for (const { digest, size, "layer-path": path } of kept) {
      const tar = readFileSync(join(directory, path as string));
      expect([`sha256:${hexSha256(tar)}`, tar.length, path]).toEqual([digest, size, `tars/${digest.slice(7)}.tar`]);
    }
  });

  it("are not left half where one cannot be made", async () => {
    mkdirSync(join(directory, "tars"));
    const last = join(store.storeRoot, paths.at(-1) as string);
    chmodSync(last, 0o755);
    await runOk("mkfifo", [join(last, "fifo")]);
    const args = [store.closureFile, "--max-layers", "0", "--tar-directory", "tars"];
    expectError(await layers(KEPT, "out.json", ...args), 1, "fifo is a FIFO");
    expect(readdirSync(join(directory, "tars"))).toEqual([]);
    expect(existsSync(join(directory, "out.json"))).toBe(false);
  });

  it("need their directory", async () => {
    const result = await layers(KEPT, "out.json", store.closureFile, "--tar-directory", "absent");
    expectError(result, 1, "there is no directory absent to write to");
  });
});

describe("image files", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  it.each([
    ["an unknown config field", { Entrypont: [] }, null, /unknown field "Entrypont"\n.*Entrypoint/],
    ["a config field given twice", { Env: [], env: [] }, null, "config.json: Env is given twice"],
    ["a config field of a wrong type", { cmd: "sh" }, null, "config.json.Cmd must be an array of strings"],
    ["layers that are none", {}, {}, "l.json: layers must be an array"],
    [
      "a layer's path",
      {},
      [{ digest, diff_ids: digest, mediatype: TAR, paths: [{}] }],
      "layers[0].paths[0].path must be",
    ],
  ])("are not written for %s", async (_, config, given, message) => {
    file("config.json", config);
    file("l.json", given);
    expectError(await n2c("image", "out.json", "config.json", "l.json"), 1, message);
    expect(existsSync(join(directory, "out.json"))).toBe(false);
  });

  it("keep the health check, which nix2container drops (its issue #197)", async () => {
    file("config.json", { Healthcheck: { Test: ["CMD", "true"] }, Cmd: ["a"] });
    file("l.json", null);
    expectOk(await n2c("image", "out.json", "config.json", "l.json"), "image");
    expect(JSON.parse(read("out.json"))["image-config"]).toEqual({
      Cmd: ["a"],
      Healthcheck: { Test: ["CMD", "true"] },
    });
  });

  it.each([
    ["no manifest", undefined, 1, "cannot read pulled/manifest.json: no such file"],
    ["an index", { manifests: [] }, 1, "pulled/manifest.json is an index of several images"],
    ["a missing config", { config: { digest }, layers: [] }, 1, `pulled lacks ${"0".repeat(64)}`],
  ])("are not made of a directory with %s", async (_, manifest, status, message) => {
    mkdirSync(join(directory, "pulled"));
    if (manifest !== undefined) file("pulled/manifest.json", manifest);
    expectError(await n2c("image-from-dir", "out.json", "pulled"), status, message);
  });

  it("are not made of blobs that are not there, or are of a strange type", async () => {
    const config = Buffer.from(JSON.stringify({ rootfs: { diff_ids: [digest] } }));
    const hex = hexSha256(config);
    file("config", config);
    file("blobs.json", { [hex]: "config" });
    const manifest = (mediaType: string) => ({ config: { digest: `sha256:${hex}` }, layers: [{ digest, mediaType }] });
    const run = () => n2c("image-from-manifest", "out.json", "m.json", "blobs.json");
    file("m.json", manifest(TAR));
    expectError(await run(), 1, `blobs.json has no file for ${"0".repeat(64)}, which m.json names`);
    file("m.json", manifest("application/x-tar"));
    expectError(await run(), 1, "layers of the type application/x-tar are not read");
    file("m.json", { ...manifest(TAR), layers: [] });
    expectError(await run(), 1, "m.json has 0 layers, config 1 rootfs.diff_ids");
  });
});

describe("stream of an image file", () => {
  const stream = (...args: string[]) =>
    runCli(["stream", ...args, "--store-root", store.storeRoot], { cwd: directory });

  /** An image of a pulled base image and the sample store; gives the diffIDs. */
  async function makeImage(pack: (tar: Buffer) => { readonly blob: Buffer; readonly type: string }): Promise<string[]> {
    const base = await packTar([["base", "x".repeat(100_000)]]);
    const { blob, type } = pack(base);
    const config = Buffer.from(JSON.stringify({ rootfs: { type: "layers", diff_ids: [`sha256:${hexSha256(base)}`] } }));
    mkdirSync(join(directory, "pulled"));
    file("pulled/manifest.json", {
      config: { digest: `sha256:${hexSha256(config)}` },
      layers: [{ digest: `sha256:${hexSha256(blob)}`, mediaType: type }],
    });
    for (const content of [blob, config]) file(`pulled/${hexSha256(content)}`, content);
    expectOk(await n2c("image-from-dir", "base.json", "pulled"), "image-from-dir");
    file("history.json", { created_by: "<me>" });
    const args = ["--max-layers", "2", "--history", "history.json"];
    expectOk(await layers(LAYERS, "layers.json", store.closureFile, ...args), "layers");
    file("config.json", { entrypoint: ["/bin/a&b"] });
    expectOk(
      await n2c("image", "image.json", "config.json", "layers.json", "--from-image", "base.json", "--arch", "arm64"),
      "image",
    );
    return [`sha256:${hexSha256(base)}`, ...readLayers("layers.json").map(({ digest }) => digest)];
  }
  const plain = (tar: Buffer) => ({ blob: tar, type: TAR });
  const gzipped = (tar: Buffer) => ({ blob: gzipSync(tar), type: "application/vnd.docker.image.rootfs.diff.tar.gzip" });

  it.each([
    ["plain", plain],
    ["gzipped", gzipped],
  ])("gives the recorded layers and nix2container's config; a %s base", async (_, pack) => {
    const diffIds = await makeImage(pack);
    const members = await unpackTar(
      expectOk(await stream("image.json", "--name", "app", "--tag", "2"), "stream").stdout,
    );
    const [manifest] = JSON.parse(`${members.get("manifest.json")}`);
    expect(manifest.RepoTags).toEqual(["app:2"]);
    expect(manifest.Layers.map((name: string) => `sha256:${hexSha256(members.get(name) as Buffer)}`)).toEqual(diffIds);
    expect(`${members.get(manifest.Config)}`).toBe(
      '{"created":"0001-01-01T00:00:00Z","architecture":"arm64","os":"linux","config":{"Entrypoint":["/bin/a\\u0026b"]},' +
        `"rootfs":{"type":"layers","diff_ids":${JSON.stringify(diffIds)}},` +
        '"history":[{},{"created_by":"\\u003cme\\u003e"},{"created_by":"\\u003cme\\u003e"}]}',
    );
  });

  it.skipIf(requireTools("zstd"))("unpacks a base layer by zstd", async () => {
    const diffIds = await makeImage((tar) => {
      writeFileSync(join(directory, "layer"), tar);
      return { blob: tar, type: TAR };
    });
    await runOk("zstd", ["-q", join(directory, "layer")]);
    const packed = readFileSync(join(directory, "layer.zst"));
    const image = JSON.parse(read("image.json"));
    const digest = `sha256:${hexSha256(packed)}`;
    file("image.json", {
      ...image,
      layers: [
        { ...image.layers[0], digest, size: packed.length, mediatype: `${TAR}+zstd`, "layer-path": "layer.zst" },
        ...image.layers.slice(1),
      ],
    });
    const members = await unpackTar(expectOk(await stream("image.json"), "stream").stdout);
    expect(`sha256:${hexSha256(members.get("layer-001.tar") as Buffer)}`).toBe(diffIds[0]);
  });

  it("refuses flags that contradict it, and commands that want a closure", async () => {
    await makeImage(plain);
    expectError(await stream("image.json", "--cmd", "x"), 2, "--cmd cannot be combined with a nix2container image");
    expectError(await stream("image.json", "--tag", "x"), 2, "a tag needs a name");
    expectError(
      await runCli(["plan", join(directory, "image.json")]),
      2,
      "is a nix2container image, which holds layers",
    );
  });

  /** The file of the store that is the largest, made writable. */
  async function someFile(): Promise<{ readonly path: string; readonly storePath: string }> {
    const storePath = paths[0] as string;
    const found = await runOk("find", [join(store.storeRoot, storePath), "-type", "f", "-size", "+0"]);
    const path = found.split("\n")[0] as string;
    chmodSync(path, 0o644);
    return { path, storePath };
  }

  it("fails where a file of the store changed, naming its store path, and gives no image", async () => {
    const diffIds = await makeImage(plain);
    const { path, storePath } = await someFile();
    const bytes = readFileSync(path);
    bytes[0] = (bytes[0] as number) ^ 1;
    writeFileSync(path, bytes);
    chmodSync(path, 0o444);
    const result = await stream("image.json");
    expectError(result, 3, storePath);
    const number =
      readLayers("layers.json").findIndex((layer) => layer.paths?.some(({ path }) => path === storePath)) + 2;
    expect(result.stderr).toMatch(
      new RegExp(`layer ${number} is sha256:[0-9a-f]{64} .* ${diffIds[number - 1]} .* was recorded`),
    );
    expect(result.stdout.includes("manifest.json")).toBe(false);
  });

  it("fails before the layer where its size changed", async () => {
    await makeImage(plain);
    const { path, storePath } = await someFile();
    writeFileSync(path, Buffer.alloc(5000, 1));
    chmodSync(path, 0o444);
    expectError(await stream("image.json"), 3, storePath);
  });

  it.each([
    ["a plain", plain],
    ["a gzipped", gzipped],
  ])("fails where the file of %s layer changed", async (_, pack) => {
    await makeImage(pack);
    const image = JSON.parse(read("image.json"));
    const path = join(directory, image.layers[0]["layer-path"]);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 0xff;
    writeFileSync(path, bytes);
    const result = await stream("image.json");
    expectError(result, 3, `layer 1: ${image.layers[0]["layer-path"]}`);
    expect(result.stdout.includes("manifest.json")).toBe(false);
    file("image.json", { ...image, layers: [{ ...image.layers[0], size: 7 }] });
    expectError(await stream("image.json"), 3, "bytes long, not 7 as recorded");
  });

  it.each([
    ["another version", { version: 2 }, "version 2 of nix2container's image file is not known"],
    ["an unknown key", { layer: [] }, /unknown key "layer"\n.*layers/],
    ["a layer of nothing", { layers: [{ paths: null }] }, "layers[0] has neither paths nor a layer-path"],
    ["a digest", { layers: [{ diff_ids: `sha256:${"1".repeat(64)}` }] }, "layers[0]: digest and diff_ids differ"],
    ["a media type", { layers: [{ mediatype: "x", "layer-path": "y" }] }, "layers of the media type x are not read"],
    ["a missing file", { layers: [{ "layer-path": "absent.tar" }] }, "cannot read absent.tar: no such file"],
    ["a path", { layers: [{ paths: [{ path: "/tmp/x" }] }] }, '"/tmp/x" is not a store path'],
    ["a store path", { layers: [{ paths: [{ path: FILE }] }] }, `store paths are missing under`],
  ])("fails for %s", async (_, wrong, message) => {
    const digest = `sha256:${"0".repeat(64)}`;
    const layer = { digest, diff_ids: digest, size: 1024, mediatype: TAR, paths: [] };
    const given = "layers" in wrong ? { layers: wrong.layers.map((fields) => ({ ...layer, ...fields })) } : wrong;
    file("image.json", { version: 1, "image-config": {}, layers: [], ...given });
    expectError(await stream("image.json"), 1, message);
  });
});
