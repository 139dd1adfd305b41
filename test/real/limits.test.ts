import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { planLayers } from "../../src/layers/plan-layers.js";
import { createClosure } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { runCli, startCli } from "../support/cli.js";
import { expectOk, runCommand, runOk } from "../support/command.js";
import { ENGINE_TOOLS, startDocker } from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";

// The same in sizes that take minutes: npm run test:limits.

const PROFILES = ["oci", "dockertools", "nix2container"] as const;
const READERS = ["tar", "bsdtar"] as const;
const LIMIT_MS = 180_000;

const path = (i: number) => `/nix/store/${String(i).padStart(32, "0")}-package-${i}` as StorePath;

let directory: string;
let storeRoot: string;
beforeEach(() => {
  // Its length is a part of what is tested.
  directory = mkdtempSync(join(tmpdir(), "oci-nix-limits-"));
  storeRoot = join(directory, "root");
  mkdirSync(join(storeRoot, "nix", "store"), { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Summary {
  readonly imageId: string;
  readonly layers: readonly { readonly diffId: string; readonly size: number }[];
}

/** An empty store object; gives its directory. */
function add(i: number): string {
  const made = join(storeRoot, path(i));
  mkdirSync(made);
  return made;
}

/** Writes the graph of the first store paths and a spec of them. */
function specOf(count: number, more: object = {}, referencesOf: (i: number) => readonly number[] = () => []): string {
  const graph = join(directory, "graph.json");
  const objects = Array.from({ length: count }, (_, i) => ({
    path: path(i),
    narSize: 1000 + i,
    narHash: `sha256:${String(i).padStart(52, "0")}`,
    references: referencesOf(i).map(path),
  }));
  writeFileSync(graph, JSON.stringify(objects));
  const spec = join(directory, "spec.json");
  writeFileSync(spec, JSON.stringify({ name: "limits", tag: "1", closure: { storeRoot, graph }, ...more }));
  return spec;
}

/** Builds unpacked layers; gives their files, bottom first. */
async function built(
  spec: string,
  ...flags: string[]
): Promise<{ readonly imageId: string; readonly files: string[] }> {
  const layout = mkdtempSync(join(directory, "layout-"));
  const args = ["build", spec, "--to", `oci:${layout}:1`, "--compression", "none", "--no-cache", "--json", ...flags];
  const { stderr } = expectOk(await runCli(args, { timeoutMs: LIMIT_MS }), args.join(" "));
  const { imageId, layers } = JSON.parse(stderr) as Summary;
  return { imageId, files: layers.map(({ diffId }) => join(layout, "blobs", diffId.replace(":", "/"))) };
}

/** The lines that a program prints of archives. */
async function listed(reader: (typeof READERS)[number], flags: string, files: readonly string[]): Promise<string[]> {
  const numeric = ["--numeric-owner", ...(reader === "tar" ? ["-P", "--quoting-style=literal"] : [])];
  const texts = files.map((file) => runOk(tool(reader), [...numeric, `-${flags}f`, file], { env: { LC_ALL: "C" } }));
  return (await Promise.all(texts)).flatMap((text) => text.trimEnd().split("\n"));
}

describe.skipIf(requireTools(...READERS))("an image", () => {
  it("has 20,000 files, each of which tar lists in the layer and in what export writes of it", async () => {
    const object = add(0);
    for (let i = 0; i < 20; i++) {
      const inner = join(object, `directory-${i}`);
      mkdirSync(inner);
      for (let file = 0; file < 1000; file++) writeFileSync(join(inner, `file-${file}`), "");
    }
    const spec = specOf(1);
    const { imageId, files } = await built(spec);
    const names = await listed("tar", "t", files);
    const isFile = (name: string) => /\/file-\d+$/.test(name);
    expect(new Set(names.filter(isFile)).size).toBe(20_000);
    expect(names).toHaveLength(20_000 + 20 + 3);

    const archive = join(directory, "image.tar");
    const stream = ["stream", spec, "--no-cache", "--json"];
    const streamed = expectOk(await runCli(stream, { stdoutFile: archive }), "stream");
    expect((JSON.parse(streamed.stderr) as Summary).imageId).toBe(imageId);
    const root = join(directory, "root.tar");
    expectOk(await runCli(["export", `docker-archive:${archive}`, "-o", root]), "export");
    const exported = (await listed("tar", "t", [root])).map((name) => name.replace(/^\.\//, ""));
    expect(exported.filter(isFile).sort()).toEqual(names.filter(isFile).sort());
    const validated = await runCli(["validate", `docker-archive:${archive}`]);
    expect(validated).toMatchObject({ status: 0 });
  });

  it.each(PROFILES)(
    "has a file of 100 GiB in a layer of the profile %s, of which headers are enough",
    async (profile) => {
      const size = 100 * 2 ** 30;
      const fd = openSync(join(add(0), "hole"), "wx", 0o444);
      ftruncateSync(fd, size);
      closeSync(fd);
      const spec = specOf(1);
      const running = startCli(["stream", spec, "--tar-profile", profile, "--no-cache", "--quiet"]);
      const head = await firstBytes(running.stdout, 65_536);
      expect(await running.ended).toMatchObject({ status: 1, stderr: expect.stringContaining("the reader went away") });
      const [outer, inner] = [join(directory, "outer"), join(directory, "inner")];
      writeFileSync(outer, head);
      // An extended header tells the layer's size, which octal digits do not.
      writeFileSync(inner, head.subarray(3 * 512));
      for (const reader of READERS) {
        // What follows is missing, and both say so.
        const first = async (file: string) => (await runCommand(tool(reader), ["-P", "-tvf", file])).stdout.toString();
        const layer = Number(/ (\d{12}) .*layer-001\.tar/.exec(await first(outer))?.[1]);
        expect(layer % 512).toBe(0);
        expect(layer).toBeGreaterThan(size);
        expect(layer).toBeLessThan(size + 10 * 1024 + 10_240);
        expect(await first(inner)).toMatch(new RegExp(` ${size} .*/hole\n$`));
      }
    },
  );

  it.each(PROFILES)(
    "has names and link targets of 4,095 bytes, with their NUL all that Linux takes, by the profile %s",
    async (profile) => {
      const link = "t".repeat(4095);
      // The longest path of a file here, and the longest in an image, a directory, which ends in a slash.
      const source = longPath(add(0), 4095);
      mkdirSync(join(source, ".."), { recursive: true });
      writeFileSync(source, "");
      symlinkSync(link, join(storeRoot, path(0), "link"));
      const generated = longPath("/generated", 4095);
      const { files } = await built(
        specOf(1, { files: [{ target: generated, directory: true }] }),
        "--tar-profile",
        profile,
      );
      for (const reader of READERS) {
        const names = (await listed(reader, "t", files)).map((name) => name.replace(/^\.?\/|\/$/g, ""));
        expect(names).toContain(source.slice(storeRoot.length + 1));
        expect(names).toContain(generated.slice(1));
        expect((await listed(reader, "tv", files)).filter((line) => line.endsWith(`/link -> ${link}`))).toHaveLength(1);
      }
    },
  );

  it.each(PROFILES)(
    "has owners up to the largest id by the profile %s, of everything and by rules",
    async (profile) => {
      const object = add(0);
      for (const name of ["plain", "ruled"]) writeFileSync(join(object, name), "");
      const [uid, gid] = [2 ** 31, 2 ** 32 - 2];
      const perms = [{ path: path(0), regex: "ruled$", mode: "0640", uid: gid, gid: uid }];
      const ids = ["--uid", String(uid), "--gid", String(gid), "--tar-profile", profile];
      const { files } = await built(specOf(1, { perms }), ...ids);
      for (const reader of READERS) {
        const lines = await listed(reader, "tv", files);
        const ownerOf = (name: string) =>
          lines
            .find((line) => line.endsWith(`/${name}`))
            ?.match(/\b[24]\d{9}\b/g)
            ?.map(Number);
        expect(ownerOf("plain")).toEqual([uid, gid]);
        expect(ownerOf("ruled")).toEqual([gid, uid]);
      }
    },
  );

  it("cannot have a generated path that Linux does not take", async () => {
    writeFileSync(join(add(0), "file"), "");
    const spec = specOf(1, { files: [{ target: longPath("/generated", 4096), text: "x" }] });
    const refused = await runCli(["stream", spec, "--no-cache"]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("files[0]: target must be") });
    expect(refused.stdout).toHaveLength(0);
  });

  it("cannot have a path that the system cannot read, and says which", async () => {
    const deep = add(0);
    const step = "d".repeat(255);
    const script = `cd "$1" && for i in $(seq 17); do mkdir ${step} && cd ${step} || exit; done`;
    await runOk("bash", ["-c", script, "bash", deep]);
    const spec = specOf(1);
    const refused = await runCli(["stream", spec, "--no-cache"]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/^error: cannot read .*ENAMETOOLONG/s) });
    expect(refused.stderr).not.toContain("    at ");
    await runOk("rm", ["-rf", deep]);
  });
});

describe.skipIf(requireTools(...ENGINE_TOOLS.docker, "skopeo"))("an image of 125 layers", () => {
  it("is loaded by Docker and copied by skopeo, and one of 126 is refused", { timeout: LIMIT_MS }, async () => {
    for (let i = 0; i < 200; i++) writeFileSync(join(add(i), "file"), String(i));
    const spec = specOf(200, {}, (i) => (i === 0 ? [] : [i - 1]));
    const archive = join(directory, "image.tar");
    const layers = (count: number) => ["stream", spec, "--max-layers", String(count), "--no-cache", "--json"];
    const { stderr } = expectOk(await runCli(layers(125), { stdoutFile: archive }), "stream");
    const diffIds = (JSON.parse(stderr) as Summary).layers.map(({ diffId }) => diffId);
    expect(new Set(diffIds).size).toBe(125);
    const config = await runOk(tool("skopeo"), ["inspect", "--config", `docker-archive:${archive}`]);
    expect(JSON.parse(config).rootfs.diff_ids).toEqual(diffIds);
    const docker = await startDocker();
    try {
      await docker.ok(["load", "--input", archive]);
      const [image] = JSON.parse(await docker.ok(["image", "inspect", "limits:1"]));
      expect(image.RootFS.Layers).toEqual(diffIds);
    } finally {
      await docker.stop();
    }
    const refused = await runCli(layers(126));
    expect(refused.stdout).toHaveLength(0);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("126 layers cannot be run") });
  });
});

/** What the store path refers to, of `count`. */
const SHAPES: Readonly<Record<string, (i: number, count: number) => readonly number[]>> = {
  chain: (i) => [i - 1],
  ladder: (i) => [i - 1, i - 2],
  star: (i, count) => (i === count - 1 ? Array.from({ length: count - 1 }, (_, j) => j) : []),
  tree: (i) => [Math.floor(i / 2), Math.floor(i / 3)],
};

describe("a closure of 2,000 store paths", () => {
  const COUNT = 2000;
  const closureOf = (shape: string) =>
    createClosure({
      storeDir: "/nix/store",
      source: "the test",
      objects: Array.from({ length: COUNT }, (_, i) => ({
        path: path(i),
        narHash: undefined,
        narSize: 1000 + ((i * 7919) % 5000),
        references: [...new Set(SHAPES[shape]?.(i, COUNT).filter((j) => j >= 0 && j < i))].map(path),
      })),
    });

  it.each(Object.keys(SHAPES))("is planned whole by every strategy for many paths where it is a %s", (shape) => {
    for (const strategy of ["closure-cost", "popularity", "dockertools-auto", "nix2container"]) {
      const plans = planLayers(closureOf(shape), { strategy, maxLayers: 125 });
      const planned = plans.flatMap(({ contents }) => contents.map(({ storePath }) => storePath));
      expect(plans.length).toBeLessThanOrEqual(125);
      expect(planned.sort()).toEqual(Array.from({ length: COUNT }, (_, i) => path(i)));
    }
  });

  it("has what is deepest first by popularity, where ways to it are more than any fixed number tells", () => {
    const plans = planLayers(closureOf("ladder"), { strategy: "popularity", maxLayers: 100 });
    const alone = plans.slice(0, 99).map(({ contents }) => contents.map(({ storePath }) => storePath));
    expect(alone).toEqual(Array.from({ length: 99 }, (_, i) => [path(i)]));
  });

  it.skipIf(requireTools("nix-store", "sqlite3"))("is in a Nix database that Nix and SQLite read whole", async () => {
    const root = join(directory, "database");
    specOf(COUNT, {}, (i) => (i === 0 ? [] : [i - 1]));
    const made = await runCli(["nix-db", join(directory, "graph.json"), "--to", root, "--json"]);
    expectOk(made, "nix-db");
    const file = join(root, "nix/var/nix/db", "db.sqlite");
    expect(await runOk(tool("sqlite3"), [file, "pragma integrity_check"])).toBe("ok\n");
    const env = {
      ...process.env,
      NIX_REMOTE: `local?root=${root}`,
      NIX_STATE_DIR: join(directory, "state"),
      NIX_CONF_DIR: "/nonexistent",
      NIX_CONFIG: "build-users-group =\nsubstituters =\n",
    };
    const reached = await runOk(tool("nix-store"), ["--query", "--requisites", path(COUNT - 1)], { env });
    expect(reached.trim().split("\n").sort()).toEqual(Array.from({ length: COUNT }, (_, i) => path(i)));
  });
});

/** A path of this many bytes, its components as long as they may be. */
function longPath(start: string, length: number): string {
  let made = start;
  while (length - made.length > 257) made += `/${"n".repeat(255)}`;
  return `${made}/${"f".repeat(length - made.length - 1)}`;
}

/** Reads so many bytes and goes away. */
async function firstBytes(stream: Readable, count: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length >= count) break;
  }
  stream.destroy();
  return Buffer.concat(pieces).subarray(0, count);
}
