import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { hexSha256, packImage, packTar, unpackTar } from "../support/confs.js";
import { createPodman, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 180_000;

let directory: string;
let busybox: Buffer;
const place = (name: string) => `docker-archive:${join(directory, name)}`;
const merge = (...args: readonly string[]) => runCli(["merge", ...args], { cwd: directory, timeoutMs: LIMIT_MS });

interface Merged {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}
const manifestOf = async (file: string) =>
  JSON.parse(String((await unpackTar(readFileSync(join(directory, file)))).get("manifest.json"))) as readonly Merged[];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-merge-"));
  if (requireTools("busybox") !== undefined) return;
  busybox = await programLayer();
  for (const name of ["a", "b", "c", "d"]) writeFileSync(join(directory, `${name}.tar`), await imageArchive(name));
}, LIMIT_MS);
afterAll(() => rmSync(directory, { recursive: true, force: true }), LIMIT_MS);

/** A layer with busybox in it, which belongs to somebody. */
async function programLayer(): Promise<Buffer> {
  const tree = join(directory, "tree");
  mkdirSync(join(tree, "bin"), { recursive: true });
  await runOk("cp", [tool("busybox"), join(tree, "bin/busybox")]);
  const file = join(directory, "layer.tar");
  await runOk("tar", ["-C", tree, "--owner=12:12", "--group=34:34", "--numeric-owner", "-cf", file, "bin"]);
  return readFileSync(file);
}

/** Named but for c; of b the layers are packed, and the whole archive. */
async function imageArchive(name: string): Promise<Buffer> {
  const own = await packTar([["name", name]]);
  const packed = name === "b" ? { stored: gzipSync(busybox) } : {};
  const layers = [
    { name: "0.tar", tar: busybox, ...packed },
    { name: "1.tar", tar: own, ...(name === "b" ? { stored: gzipSync(own) } : {}) },
  ];
  const archive = await packImage(layers, { Cmd: ["/bin/busybox", "cat", "/name"] });
  if (name === "c") return archive;
  const members = await unpackTar(archive);
  const manifest = String(members.get("manifest.json")).replace('"RepoTags":null', `"RepoTags":["${name}:1"]`);
  const named = await packTar(
    [...members].map(([member, bytes]) => [member, member === "manifest.json" ? manifest : bytes]),
  );
  return name === "b" ? gzipSync(named) : named;
}

describe.skipIf(requireTools("busybox", "tar"))("oci-nix merge", () => {
  beforeAll(async () => {
    const result = await merge(place("a.tar"), place("b.tar"), place("c.tar"), "--to", place("all.tar"));
    expect(expectOk(result, "merge").stdout.toString()).toMatch(/^(sha256:[0-9a-f]{64}\n){3}$/);
  }, LIMIT_MS);

  it("keeps layers byte for byte, shared ones once, and an image without a name without one", async () => {
    const manifest = await manifestOf("all.tar");
    expect(manifest.map(({ RepoTags }) => RepoTags)).toEqual([["a:1"], ["b:1"], []]);
    const [a, b, c] = manifest as [Merged, Merged, Merged];
    expect(a.Layers[0]).toBe(`blobs/sha256/${hexSha256(busybox)}`);
    expect(b.Layers[0]).toBe(`blobs/sha256/${hexSha256(gzipSync(busybox))}`);
    expect(c.Layers[0]).toBe(a.Layers[0]);
    const names = (await runOk("tar", ["-tf", join(directory, "all.tar")])).trimEnd().split("\n");
    expect(names.filter((name) => name === a.Layers[0]).length).toBe(1);
    expect(new Set(names).size).toBe(names.length);
  });

  it("reads what it wrote, from a layout and an archive of one, and merges it on", async () => {
    for (const to of [`oci:${join(directory, "layout")}`, `oci-archive:${join(directory, "all.oci")}`]) {
      expectOk(await merge(place("all.tar"), place("d.tar"), "--to", to), "merge");
      const { images } = JSON.parse(String(expectOk(await runCli(["validate", to, "--json"]), "validate").stdout));
      expect(images.map(({ names }: { names: readonly string[] }) => names)).toEqual([["a:1"], ["b:1"], [], ["d:1"]]);
    }
  });

  it("reads back one image that a layout had in two packings, each with its name", async () => {
    const copy = (...args: readonly string[]) => runCli(["copy", ...args], { cwd: directory, timeoutMs: LIMIT_MS });
    expectOk(await copy(place("a.tar"), "oci:twice:a:plain"), "copy");
    expectOk(await copy(place("a.tar"), "oci:twice:a:packed", "--compression", "gzip"), "copy");
    expectOk(await copy("oci:twice", place("twice.tar")), "copy");
    const sizes: number[] = [];
    for (const name of ["a:plain", "a:packed"]) {
      const inspected = expectOk(await runCli(["inspect", "--json", `${place("twice.tar")}:${name}`]), name).stdout;
      const { images } = JSON.parse(String(inspected)) as { images: { names: string[]; layers: { size: number }[] }[] };
      expect(images.map(({ names }) => names)).toEqual([[name]]);
      sizes.push(images[0]?.layers[0]?.size ?? 0);
    }
    expect(sizes[0]).toBeGreaterThan(sizes[1] as number);
    expect((await manifestOf("twice.tar")).map(({ RepoTags }) => RepoTags)).toEqual([["a:plain"], ["a:packed"]]);
  });

  it.each([
    ["copy", "docker-archive:a.tar", "docker-archive:link.tar:a:2"],
    ["merge", "docker-archive:a.tar", "docker-archive:c.tar", "--to", "docker-archive:./a.tar"],
    ["export", "docker-archive:a.tar", "-o", "link.tar"],
  ])("%s does not replace what it reads", async (...args) => {
    rmSync(join(directory, "link.tar"), { force: true });
    symlinkSync("a.tar", join(directory, "link.tar"));
    const before = readFileSync(join(directory, "a.tar"));
    const { status, stderr } = await runCli(args, { cwd: directory, timeoutMs: LIMIT_MS });
    expect(String(stderr)).toContain("is read, and would be replaced by what is written");
    expect(status).toBe(2);
    expect(readFileSync(join(directory, "a.tar")).equals(before)).toBe(true);
  });

  it("takes one source from standard input", async () => {
    const stdin = { file: join(directory, "a.tar") };
    const result = await runCli(["merge", "-", place("c.tar"), "--to", place("stdin.tar")], { stdin });
    expectOk(result, "merge");
    expect((await manifestOf("stdin.tar")).map(({ RepoTags }) => RepoTags)).toEqual([["a:1"], []]);
  });

  it("is refused where two images have one name, and leaves nothing behind", async () => {
    const before = readdirSync(directory);
    const other = join(directory, "a.tar");
    const result = await merge(place("a.tar"), `docker-archive:./a.tar`, "--to", place("bad.tar"));
    expect(result.stderr).toContain(`a:1 is in docker-archive:${other} and in docker-archive:./a.tar`);
    expect(result.status).toBe(1);
    expect(readdirSync(directory)).toEqual(before);
  });

  it.each([
    [["docker-archive:a.tar"], "at least two sources"],
    [["docker-archive:a.tar", "docker-archive:b.tar"], "--to is missing"],
    [["-", "-", "--to", "oci:x"], "standard input is named twice"],
    [["docker-archive:a.tar", "docker-archive:c.tar", "--to", "docker-archive:x.tar:x:1"], "names one image"],
  ])("tells what is wrong with %j", async (args, message) => {
    const result = await merge(...args);
    expect(result.stderr).toContain(message);
    expect(result.status).toBe(2);
    expect(readdirSync(directory).filter((name) => name.startsWith("x"))).toEqual([]);
  });

  it("packs layers by zstd only where the place can hold them", async () => {
    const args = [place("a.tar"), place("b.tar"), "--compression", "zstd"];
    expect((await merge(...args, "--to", place("zstd.tar"))).stderr).toContain("cannot hold zstd layers");
    expectOk(await merge(...args, "--to", `oci:${join(directory, "zstd")}`), "merge");
  });

  const idOf = async (index: number) => {
    const config = (await manifestOf("all.tar"))[index]?.Config as string;
    return config.replace("blobs/sha256/", "");
  };

  it.skipIf(requireTools(...ENGINE_TOOLS.docker))(
    "gives docker images that run, the one without a name by its ID",
    async () => {
      const docker = await startDocker();
      try {
        await docker.ok(["load"], { stdin: { file: join(directory, "all.tar") } });
        const id = await idOf(2);
        for (const [image, name] of [
          ["a:1", "a"],
          ["b:1", "b"],
          [id, "c"],
        ] as const) {
          expect(await docker.ok([...RUN_OPTIONS, image])).toBe(name);
          const stat = ["/bin/busybox", "stat", "-c", "%u:%g", "/bin/busybox"];
          expect(await docker.ok([...RUN_OPTIONS, image, ...stat])).toBe("12:34\n");
        }
      } finally {
        await docker.stop();
      }
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))(
    "gives podman images that run",
    async () => {
      const podman = await createPodman();
      try {
        await podman.ok(["load"], { stdin: { file: join(directory, "all.tar") } });
        for (const [image, name] of [
          ["a:1", "a"],
          ["b:1", "b"],
          [await idOf(2), "c"],
        ] as const) {
          expect(await podman.ok([...RUN_OPTIONS, image])).toBe(name);
        }
      } finally {
        await podman.stop();
      }
    },
    LIMIT_MS,
  );
});
