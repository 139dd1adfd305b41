import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BlockWriter } from "../../src/core/block-writer.js";
import { nullSink } from "../../src/core/byte-sink.js";
import { readArchive } from "../../src/transport/archive-reader.js";
import type { ImageSource } from "../../src/transport/image.js";
import { readOciLayout } from "../../src/transport/oci-layout-reader.js";
import { writeUnpacked } from "../../src/transport/stored-layer.js";
import { PROJECT, runCli } from "../support/cli.js";
import { expectOk, runCommand, runOk } from "../support/command.js";
import { createPodman, ENGINE_TOOLS, startContainerd, startDocker } from "../support/daemons.js";
import { copySampleStore } from "../support/sample-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 300_000;

let directory: string;
/** Archives of our own making, and the diffIDs of their layers. */
const archives = new Map<string, { readonly file: string; readonly diffIds: readonly string[] }>();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-real-reading-"));
  const { storeRoot, closureFile } = copySampleStore(directory);
  const paths = (JSON.parse(readFileSync(closureFile, "utf8")) as readonly { readonly path: string }[]).map(
    ({ path }) => path,
  );
  for (const [name, maxLayers] of [
    ["app", "3"],
    ["web", "5"],
  ] as const) {
    const file = join(directory, `${name}.tar`);
    const input = [...paths, "--store-root", storeRoot, "--closure", closureFile, "--max-layers", maxLayers];
    const args = ["stream", ...input, "--name", name, "--tag", "1", "--cmd", "/bin/greet", "--json"];
    const result = expectOk(await runCli(args, { stdoutFile: file }), "stream");
    const { layers } = JSON.parse(result.stderr) as { layers: { diffId: string }[] };
    archives.set(name, { file, diffIds: layers.map(({ diffId }) => diffId) });
  }
}, LIMIT_MS);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const fileOf = (name: string) => archives.get(name)?.file as string;

/** Reads every layer of every image, which verifies them, and gives what they are called and hold. */
async function readAll(opening: Promise<ImageSource>) {
  const source = await opening;
  try {
    const images = [];
    for (const { names, config, layers } of source.images) {
      for (const layer of layers) {
        await layer.blob.writeTo(new BlockWriter(nullSink));
        await writeUnpacked(layer, nullSink);
      }
      const { config: run } = JSON.parse(Buffer.from(config.bytes).toString()) as { config: { Cmd: string[] } };
      expect(run.Cmd).toEqual(["/bin/greet"]);
      images.push({ names, diffIds: layers.map(({ diffId }) => diffId) });
    }
    return images;
  } finally {
    source.close();
  }
}

/** What {@link readAll} gives for an image of ours that has these names. */
const ours = (name: string, ...names: readonly string[]) => ({ names, diffIds: archives.get(name)?.diffIds });
const skopeo = (...args: readonly string[]) => runOk("skopeo", ["copy", "--quiet", "--insecure-policy", ...args]);

describe("images that oci-nix writes", () => {
  it("are read as they were written", async () => {
    expect(await readAll(readArchive(fileOf("app")))).toEqual([ours("app", "app:1")]);
  });

  it("are read from a pipe and from a file on standard input", async () => {
    const script = `
      const { readArchive } = await import(${JSON.stringify(join(PROJECT, "dist/transport/archive-reader.js"))});
      const source = await readArchive("-");
      console.log(JSON.stringify(source.images.map(({ names, layers }) => ({ names, diffIds: layers.map((layer) => layer.diffId) }))));
      source.close();`;
    const node = [process.execPath, "--input-type=module", "--eval", script];
    for (const shell of ['cat "$0" | "$@"', '"$@" < "$0"', 'gzip -c "$0" | "$@"', 'zstd -qc "$0" | "$@"']) {
      const result = await runCommand("sh", ["-c", shell, fileOf("app"), ...node]);
      expect(JSON.parse(String(expectOk(result, shell).stdout)), shell).toEqual([ours("app", "app:1")]);
    }
  });
});

describe.skipIf(requireTools("skopeo"))("images that skopeo writes", () => {
  it.each([
    ["docker-archive", "registry.example/team/app:1", ["registry.example/team/app:1"]],
    ["docker-archive", "", []],
    ["oci-archive", "1", ["1"]],
    ["oci-archive", "registry.example/team/app:1", ["registry.example/team/app:1"]],
    ["oci-archive", "", []],
  ])("are read from %s:FILE:%s", async (transport, name, names) => {
    const file = join(directory, `skopeo-${transport}-${name.length}.tar`);
    await skopeo(`docker-archive:${fileOf("app")}`, `${transport}:${file}${name === "" ? "" : `:${name}`}`);
    expect(await readAll(readArchive(file))).toEqual([ours("app", ...names)]);
  });

  it.each(["gzip", "zstd"])("are read from a layout with %s layers, one of two", async (format) => {
    const layout = join(directory, `skopeo-${format}`);
    const options = ["--dest-compress", "--dest-compress-format", format];
    for (const name of ["app", "web"])
      await skopeo(...options, `docker-archive:${fileOf(name)}`, `oci:${layout}:${name}`);
    const source = await readOciLayout(layout);
    expect(source.images.flatMap(({ layers }) => layers.map(({ compression }) => compression))).toContain(format);
    source.close();
    expect(await readAll(readOciLayout(layout))).toEqual([ours("app", "app"), ours("web", "web")]);
    expect(await readAll(readOciLayout(layout, { tag: "web" }))).toEqual([ours("web", "web")]);
  });
});

describe.skipIf(requireTools("skopeo", "umoci"))("images that umoci writes", () => {
  it("are read under both tags", async () => {
    const layout = join(directory, "umoci");
    await skopeo(`docker-archive:${fileOf("app")}`, `oci:${layout}:1`);
    await runOk("umoci", ["tag", "--image", `${layout}:1`, "2"]);
    expect(await readAll(readOciLayout(layout))).toEqual([ours("app", "1", "2")]);
    expect(await readAll(readOciLayout(layout, { tag: "2" }))).toEqual([ours("app", "2")]);
  });
});

describe.skipIf(requireTools(...ENGINE_TOOLS.podman))("images that podman saves", () => {
  it("are read in every format", { timeout: LIMIT_MS }, async () => {
    const podman = await createPodman();
    try {
      for (const name of ["app", "web"]) await podman.ok(["load", "--quiet", "--input", fileOf(name)]);
      const save = async (format: string, file: string, ...images: readonly string[]) => {
        const to = join(directory, file);
        await podman.ok(["save", "--quiet", "--format", format, "--output", to, ...images]);
        return to;
      };
      const name = "localhost/app:1";
      expect(await readAll(readArchive(await save("docker-archive", "podman-docker.tar", name)))).toEqual([
        ours("app", name),
      ]);
      expect(await readAll(readArchive(await save("oci-archive", "podman-oci.tar", name)))).toEqual([
        ours("app", name),
      ]);
      expect(await readAll(readOciLayout(await save("oci-dir", "podman-oci", name)))).toEqual([ours("app", name)]);
      const both = join(directory, "podman-both.tar");
      const images = [name, "localhost/web:1"];
      await podman.ok(["save", "--quiet", "--multi-image-archive", "--output", both, ...images]);
      expect(await readAll(readArchive(both))).toEqual(
        expect.arrayContaining([ours("app", name), ours("web", "localhost/web:1")]),
      );
      expect(await readAll(readArchive(both, { ref: "localhost/web:1" }))).toEqual([ours("web", "localhost/web:1")]);
      await expect(readArchive(both, { ref: "1" })).rejects.toThrow(/"1" is the tag of several images/);
    } finally {
      await podman.stop();
    }
  });
});

describe.skipIf(requireTools(...ENGINE_TOOLS.docker))("images that Docker saves", () => {
  it("are read, by manifest.json and by repositories", { timeout: LIMIT_MS }, async () => {
    const docker = await startDocker();
    try {
      for (const name of ["app", "web"]) await docker.ok(["load", "--quiet", "--input", fileOf(name)]);
      const file = join(directory, "docker.tar");
      await docker.ok(["save", "--output", file, "app:1", "web:1"]);
      const both = [ours("app", "app:1"), ours("web", "web:1")];
      const read = await readAll(readArchive(file));
      expect(read).toHaveLength(2);
      expect(read).toEqual(expect.arrayContaining(both));
      expect(await readAll(readArchive(file, { ref: "docker.io/library/web:1" }))).toEqual([ours("web", "web:1")]);
      const members = (await runOk("tar", ["-tf", file])).trim().split("\n");
      if (members.includes("repositories") && !members.includes("index.json")) {
        // What Docker wrote before 1.10: no manifest.json and no image configs.
        const unpacked = join(directory, "docker-legacy");
        mkdirSync(unpacked);
        await runOk("tar", ["-xf", file, "-C", unpacked]);
        for (const name of members.filter((member) => /^[^/]*\.json$/.test(member))) rmSync(join(unpacked, name));
        const legacy = join(directory, "docker-legacy.tar");
        await runOk("tar", ["-cf", legacy, "-C", unpacked, "."]);
        const old = await readAll(readArchive(legacy));
        expect(old).toHaveLength(2);
        expect(old).toEqual(expect.arrayContaining(both));
      }
      const id = (await docker.ok(["images", "--quiet", "--no-trunc", "app:1"])).trim();
      await docker.ok(["save", "--output", file, id]);
      expect(await readAll(readArchive(file))).toEqual([ours("app")]);
    } finally {
      await docker.stop();
    }
  });
});

describe.skipIf(requireTools(...ENGINE_TOOLS.containerd))("images that ctr exports", () => {
  it("are read, though they are OCI layout and docker-archive in one", { timeout: LIMIT_MS }, async () => {
    const containerd = await startContainerd();
    try {
      for (const name of ["app", "web"]) await containerd.ok(["images", "import", fileOf(name)]);
      const file = join(directory, "ctr.tar");
      const names = ["docker.io/library/app:1", "docker.io/library/web:1"] as const;
      await containerd.ok(["images", "export", file, ...names]);
      expect(await readAll(readArchive(file))).toEqual([ours("app", "app:1"), ours("web", "web:1")]);
      expect(await readAll(readArchive(file, { ref: "web:1" }))).toEqual([ours("web", "web:1")]);
    } finally {
      await containerd.stop();
    }
  });
});
