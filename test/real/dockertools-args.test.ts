import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ACCEPTANCE_TOOLS, Acceptance } from "../support/acceptance.js";
import { PROJECT, runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { createPodman, ENGINE_TOOLS } from "../support/daemons.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 120_000;

describe.skipIf(requireTools(...ACCEPTANCE_TOOLS))("dockerTools' arguments", { timeout: LIMIT_MS }, () => {
  const host = new Acceptance();
  beforeAll(async () => await host.start(), LIMIT_MS);
  afterAll(async () => await host.stop(), LIMIT_MS);

  /** The flags for arguments as `builtins.toJSON` writes them. */
  async function flagsFor(name: string, args: object): Promise<readonly string[]> {
    const expression = `builtins.fromJSON (builtins.readFile ${host.file(`${name}-given.json`)})`;
    writeFileSync(host.file(`${name}-given.json`), JSON.stringify({ name, ...args }));
    const json = await host.nix("nix-instantiate", "--eval", "--json", "--strict", "--expr", expression);
    writeFileSync(host.file(`${name}-args.json`), json);
    return ["--dockertools-args", host.file(`${name}-args.json`), "--store-root", host.storeRoot];
  }

  async function archiveOf(name: string, args: object): Promise<string> {
    const stdoutFile = host.file(`${name}.archive`);
    expectOk(await runCli(["stream", ...(await flagsFor(name, args))], { stdoutFile }), "stream");
    return stdoutFile;
  }

  it("of streamLayeredImage are an image that runs, under the tag that is said", async () => {
    const flags = await flagsFor("streamed", {
      contents: [host.path("busybox"), host.path("hello")],
      config: { Cmd: ["hello"], Env: [`CHAIN=${host.path("chain")}`], User: "1000:1000" },
      maxLayers: 5,
    });
    const { repoTags, layers } = await host.loadInput(flags);
    expect(layers).toHaveLength(5);
    const [image = ""] = repoTags;
    expect(image).toMatch(/^streamed:[0-9a-z]{32}$/);
    expect(await host.run(image)).toBe("Hello, world!\n");
    // What only the config names is there, with all it refers to, and belongs to root.
    expect((await host.run(image, "sh", "-c", "cat $CHAIN")).trim()).toMatch(/^\/nix\/store\/.*-link-7$/);
    expect(await host.run(image, "stat", "-c", "%u:%g %a", "/nix", "/nix/store")).toBe("0:0 755\n0:0 755\n");
    expect(
      (await host.run(image, "ls", "/nix/store"))
        .trim()
        .split("\n")
        .map((name) => `/nix/store/${name}`),
    ).toEqual(await host.requisites(host.path("busybox"), host.path("hello"), host.path("chain")));
  });

  it("make the same image in a Nix build, where the references of their file are the closure", async () => {
    const needs = ["/bin", "/usr", "/lib?", "/lib64?", PROJECT, dirname(process.execPath)];
    const given = { busybox: host.path("busybox"), hello: host.path("hello"), node: process.execPath };
    const program = join(PROJECT, "bin/oci-nix.js");
    const build = async (attribute: string) =>
      await host.nix(
        ...(["nix-build", "--no-out-link", "--option", "sandbox-paths", needs.join(" ")] as const),
        ...["-A", attribute, join(PROJECT, "test/real/dockertools-args.nix")],
        ...Object.entries({ ...given, program }).flatMap(([name, value]) => ["--argstr", name, value]),
      );
    const [made, file] = [(await build("image")).trim(), (await build("file")).trim()];
    const outside = await runCli([
      ...["stream", "--dockertools-args", join(host.storeRoot, file), "--dockertools-function", "buildLayeredImage"],
      ...["--store-root", host.storeRoot],
    ]);
    const inside = readFileSync(join(host.storeRoot, made));
    expect(inside.equals(expectOk(outside, "stream").stdout)).toBe(true);
    const loaded = await host.docker.ok(["load"], { stdin: { file: join(host.storeRoot, made) } });
    const [, image = ""] = /Loaded image: (inside:[0-9a-z]{32})\n/.exec(loaded) ?? [];
    expect(await host.run(image)).toBe("Hello, world!\n");
  });

  it("of buildLayeredImage are an archive by gzip that Docker loads", async () => {
    const args = { tag: "1", contents: [host.path("busybox")], compressor: "gz", uid: 1234, gname: "users" };
    const file = await archiveOf("layered", args);
    await host.docker.ok(["load"], { stdin: { file } });
    expect(await host.run("layered:1", "stat", "-c", "%u:%g", host.path("busybox"))).toBe("1234:0\n");
  });

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))(
    "of buildLayeredImage are an archive by zstd that podman loads",
    async () => {
      const config = { Cmd: [`${host.path("hello")}/bin/hello`] };
      const file = await archiveOf("zstd", { tag: "1", config, compressor: "zstd" });
      const podman = await createPodman();
      try {
        await podman.ok(["load", "-i", file]);
        expect(await podman.ok(["image", "inspect", "localhost/zstd:1", "--format", "{{json .Config.Cmd}}"])).toBe(
          `${JSON.stringify(config.Cmd)}\n`,
        );
      } finally {
        await podman.stop();
      }
    },
  );

  it("of buildImage are one layer on top of a base that is packed, with what is at the root copied there", async () => {
    const fromImage = await archiveOf("below", {
      ...{ tag: "1", contents: [host.path("busybox")], config: { Env: ["A=base", "B=base"], Cmd: ["ls"] } },
      compressor: "gz",
    });
    const config = { Env: ["B=own"], Cmd: ["hello"] };
    const file = await archiveOf("built", { tag: "1", fromImage, copyToRoot: host.path("hello"), config });
    await host.docker.ok(["load"], { stdin: { file } });
    const [below, built] = [
      await host.docker.ok(["load"], { stdin: { file: fromImage } }),
      await host.inspect("built:1"),
    ];
    expect(below).toMatch(/below:1/);
    const base = (await host.inspect("below:1")).RootFS.Layers;
    expect(built.RootFS.Layers.slice(0, -1)).toEqual(base);
    expect(await host.run("built:1")).toBe("Hello, world!\n");
    expect(await host.run("built:1", "sh", "-c", "echo $A $B; test -L /bin/hello || echo copied")).toBe(
      "base own\ncopied\n",
    );
    const members = gunzipSync(readFileSync(file)).toString("latin1");
    expect(members).toContain(`{"built":{"1":"${built.RootFS.Layers.at(-1)?.slice("sha256:".length)}"}}`);
  });
});
