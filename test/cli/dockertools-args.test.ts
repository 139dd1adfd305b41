import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { hexSha256, packImage, packTar, unpackTar } from "../support/confs.js";
import { makeTreeStore } from "../support/trees.js";

const A = `/nix/store/${"a".repeat(32)}-a`;
const B = `/nix/store/${"b".repeat(32)}-b`;
const C = `/nix/store/${"c".repeat(32)}-c`;

let directory: string;
let args: string;
let closureFlags: readonly string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-dockertools-args-"));
  args = join(directory, "args.json");
  const { closure, remove } = makeTreeStore(
    { [A]: { "etc/": "", "etc/a": "1" }, [B]: { "bin/": "", "bin/b": ["#!", 0o555] }, [C]: { c: "1" } },
    { [B]: [A] },
  );
  const objects = JSON.parse(readFileSync(closure.graph, "utf8")) as object[];
  writeFileSync(
    closure.graph,
    JSON.stringify(objects.map((object, i) => ({ ...object, narHash: `sha256:${"0".repeat(52)}`, narSize: i + 1 }))),
  );
  closureFlags = ["--closure", closure.graph, "--store-root", closure.storeRoot];
  return () => {
    remove();
    rmSync(directory, { recursive: true, force: true });
  };
});

const run = (command: string, given: unknown, ...flags: readonly string[]) => {
  writeFileSync(args, JSON.stringify(given));
  return runCli([command, "--dockertools-args", args, ...closureFlags, ...flags]);
};

interface Config {
  readonly architecture: string;
  readonly created: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

async function imageOf(archive: Buffer) {
  const members = await unpackTar(archive);
  const [manifest] = JSON.parse(String(members.get("manifest.json"))) as [
    { readonly Config: string; readonly RepoTags: readonly string[]; readonly Layers: readonly string[] },
  ];
  const layers = await Promise.all(
    manifest.Layers.map(async (name) => [...(await unpackTar(members.get(name) as Buffer)).keys()]),
  );
  return { members, manifest, layers, config: JSON.parse(String(members.get(manifest.Config))) as Config };
}

const streamed = async (given: unknown, ...flags: readonly string[]) =>
  await imageOf(expectOk(await run("stream", given, "--quiet", ...flags), "stream").stdout);

async function errorOf(given: unknown, ...flags: readonly string[]) {
  const result = await run("stream", given, "--json", ...flags);
  expect(result.stdout).toHaveLength(0);
  return { ...(JSON.parse(result.stderr) as { code: string; message: string; hint?: string }), status: result.status };
}

describe("oci-nix stream --dockertools-args", () => {
  it("makes the image of contents and of what the config names, but of nothing else in the graph", async () => {
    const config = { Cmd: [`${B}/bin/b`] };
    const { manifest, layers, config: made } = await streamed({ name: "App", tag: "1", contents: [A], config });
    expect(manifest.RepoTags).toEqual(["app:1"]);
    expect(made.config).toEqual(config);
    expect(made.created).toBe("1970-01-01T00:00:01Z");
    expect(layers.slice(0, -1).flat()).toEqual(expect.arrayContaining([`${A}/etc/a`, `${B}/bin/b`]));
    expect(layers.flat().join()).not.toContain(C);
    expect(layers.at(-1)?.join()).toMatch(/etc\/a/);
  });

  it("keeps maxLayers as dockerTools does", async () => {
    const config = { Env: [`X=${B}:${C}`] };
    const { layers } = await streamed({ name: "app", contents: [A], config, maxLayers: 3 });
    expect(layers).toHaveLength(3);
  });

  it("takes a pipeline that is in a file, flags over arguments, and a tag of its own", async () => {
    writeFileSync(join(directory, "pipeline.json"), JSON.stringify([["popularity_contest"], ["limit_layers", 1]]));
    const given = { name: "app", contents: B, layeringPipeline: "pipeline.json", architecture: "arm64", uid: 7 };
    const { manifest, layers, config } = await streamed(given);
    expect(manifest.RepoTags[0]).toMatch(/^app:[0-9a-z]{32}$/);
    expect(layers).toHaveLength(2);
    expect(config.architecture).toBe("arm64");
    const other = await streamed(given, "--tag", "2", "--strategy", "per-path", "--tar-profile", "oci");
    expect(other.manifest.RepoTags).toEqual(["app:2"]);
    expect(other.layers).toHaveLength(3);
    expect(other.layers.flat()).toContain(`${A.slice(1)}/etc/a`);
  });

  it("inherits only the environment of a base, which may be packed", async () => {
    const tar = await packTar([["below", "1"]]);
    const base = await packImage([{ name: "base.tar", tar }], { Env: ["A=1", "B=1"], Cmd: ["sh"], User: "me" });
    writeFileSync(join(directory, "base.tar"), base);
    const config = { Env: ["B=2"], Entrypoint: [`${A}/etc/a`] };
    const made = await streamed({ name: "app", fromImage: join(directory, "base.tar"), config });
    expect(made.config.config).toEqual({ ...config, Env: ["A=1", "B=2"] });
    expect(made.config.rootfs.diff_ids[0]).toBe(`sha256:${hexSha256(tar)}`);
    const all = await streamed({ name: "app", fromImage: "base.tar", config }, "--inherit-config", "all");
    expect(all.config.config).toMatchObject({ User: "me" });
  });

  it("takes over a base as it is where there is nothing else, and makes one layer of nothing without a base", async () => {
    const tar = await packTar([["below", "1"]]);
    writeFileSync(join(directory, "base.tar"), await packImage([{ name: "base.tar", tar }]));
    const { layers } = await streamed({ name: "app", fromImage: "base.tar" });
    expect(layers).toEqual([["below"]]);
    const bare = await streamed({ name: "app", contents: [], config: { Env: ["A=B"] } });
    expect(bare.layers).toEqual([["./"]]);
    expect(bare.config.config).toEqual({ Env: ["A=B"] });
  });

  it("packs the archive of buildLayeredImage as a whole", async () => {
    const given = { name: "app", tag: "1", contents: [A] };
    const plain = expectOk(await run("stream", given), "stream").stdout;
    const packed = expectOk(await run("stream", given, "--dockertools-function", "buildLayeredImage"), "stream").stdout;
    expect(gunzipSync(packed).equals(plain)).toBe(true);
    const zstd = expectOk(await run("stream", { ...given, compressor: "zstd" }), "stream").stdout;
    expect(zstd.readUInt32LE(0)).toBe(0xfd2fb528);
    writeFileSync(join(directory, "image.tar.zst"), zstd);
    expectOk(await runCli(["validate", `docker-archive:${join(directory, "image.tar.zst")}`]), "validate");
    const none = expectOk(await run("stream", { ...given, compressor: "none" }), "stream").stdout;
    expect(none.equals(plain)).toBe(true);
  });

  it("takes another input, a wrong file or a function without arguments for a mistake", async () => {
    expect(await errorOf({ name: "app" }, A)).toMatchObject({
      code: "usage",
      message: `--dockertools-args takes the place of the input, but ${A} is given, too`,
      status: 2,
    });
    expect(await errorOf({ name: "app", content: [] })).toMatchObject({
      message: `${args}: dockerTools has no argument "content"`,
      hint: "did you mean contents?",
      status: 1,
    });
    expect(await errorOf({ name: "app", uid: "root" })).toMatchObject({
      message: expect.stringContaining(`${args}: uid must be a whole number`) as string,
    });
    expect(await errorOf({ name: "app", config: { Cmd: [`/nix/store/${"9".repeat(32)}-gone/bin/x`] } })).toMatchObject({
      code: "not-found",
      message: expect.stringContaining("-gone") as string,
    });
    const alone = await runCli(["stream", A, "--dockertools-function", "buildImage"]);
    expect(alone.stderr).toMatch(/--dockertools-function says what --dockertools-args is, which is not given/);
    expect(alone.status).toBe(2);
  });
});

describe("the arguments of buildImage", () => {
  it("make one layer on top of a base, in a packed archive with repositories", async () => {
    const tar = await packTar([["below", "1"]]);
    writeFileSync(join(directory, "base.tar"), await packImage([{ name: "base.tar", tar }], { Env: ["A=1"] }));
    const given = {
      ...{ name: "registry.example:5000/App", tag: "1", fromImage: "base.tar", copyToRoot: [B], uid: 5 },
      config: { Cmd: ["/bin/b"], Env: [`X=${C}/c`] },
      includeNixDB: true,
    };
    const packed = expectOk(await run("stream", given), "stream").stdout;
    const { members, manifest, layers, config } = await imageOf(gunzipSync(packed));
    expect(layers).toHaveLength(2);
    expect(layers[1]).toEqual(
      expect.arrayContaining(["./bin/b", `.${A}/etc/a`, `.${C}/c`, "./nix/var/nix/db/db.sqlite"]),
    );
    // Nothing refers to it where it was.
    expect(layers[1]?.join()).not.toContain(B);
    expect(config.config).toEqual({ Env: ["A=1", `X=${C}/c`], Cmd: ["/bin/b"] });
    const [, topmost] = config.rootfs.diff_ids;
    expect(JSON.parse(String(members.get("repositories")))).toEqual({
      "registry.example:5000/app": { "1": topmost?.replace("sha256:", "") },
    });
    expect(manifest.RepoTags).toEqual(["registry.example:5000/app:1"]);
  });

  it("make a layer of nothing where they name nothing, with and without a base", async () => {
    const tar = await packTar([["below", "1"]]);
    writeFileSync(join(directory, "base.tar"), await packImage([{ name: "base.tar", tar }]));
    for (const [fromImage, count] of [
      ["base.tar", 2],
      [null, 1],
    ] as const) {
      const given = { name: "app", tag: "1", fromImage, config: { Cmd: ["/bin/x"] }, compressor: "none" };
      const { layers, config } = await streamed(given, "--dockertools-function", "buildImage");
      expect(layers).toHaveLength(count);
      expect(layers.at(-1)).toEqual(["./"]);
      expect(config.config).toEqual({ Cmd: ["/bin/x"] });
    }
  });
});

describe("other commands with --dockertools-args", () => {
  it("plan and build the same image", async () => {
    const given = { name: "app", tag: "1", contents: [A], config: { Cmd: [`${B}/bin/b`] } };
    const image = await streamed(given);
    const plan = JSON.parse(String(expectOk(await run("plan", given, "--json"), "plan").stdout)) as {
      layers: unknown[];
    };
    expect(plan.layers).toHaveLength(image.layers.length);
    const layout = join(directory, "layout");
    expectOk(await run("build", given, "--to", `oci:${layout}:1`, "--quiet"), "build");
    expect(existsSync(join(layout, "blobs/sha256", image.manifest.Config.replace(".json", "")))).toBe(true);
  });
});
