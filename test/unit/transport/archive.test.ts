import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ArchiveOptions, openArchiveTarget } from "../../../src/transport/archive.js";
import { readArchive } from "../../../src/transport/archive-reader.js";
import { openOciLayoutTarget } from "../../../src/transport/oci-layout.js";
import { openTargets } from "../../../src/transport/open.js";
import { parseTransport } from "../../../src/transport/transport.js";
import { deliverAll, imageOf, layerOf, type SmallImage } from "../../support/outgoing.js";

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-archive-"));
  file = join(directory, "image.tar");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const DOCKER = { kind: "docker-archive", ref: "app:1" } as const;
const OCI = { kind: "oci-archive", ref: "1" } as const;

async function write(images: readonly SmallImage[], options: ArchiveOptions = DOCKER, to = file) {
  return await deliverAll(images, [await openArchiveTarget(to, options)]);
}

const members = () => execFileSync("tar", ["-tf", file], { encoding: "utf8" }).trimEnd().split("\n");
const member = (name: string) => execFileSync("tar", ["-xOf", file, name], { encoding: "utf8" });
const blobName = (digest: string) => digest.replace(":", "/").replace(/^/, "blobs/");

describe("an archive of an image", () => {
  it("is a docker-archive and an OCI layout in one, with the names that containerd wants", async () => {
    const [image] = await write([imageOf(["lower", "upper"])]);
    const { config, manifest, layers } = image as NonNullable<typeof image>;
    const blobs = [...layers, config, manifest].map(({ digest }) => blobName(digest));
    expect(members()).toEqual([...blobs, "index.json", "manifest.json", "oci-layout"]);
    expect(JSON.parse(member("manifest.json"))).toEqual([
      { Config: blobName(config.digest), RepoTags: ["app:1"], Layers: layers.map(({ digest }) => blobName(digest)) },
    ]);
    expect(JSON.parse(member("index.json")).manifests).toEqual([
      {
        ...manifest,
        annotations: {
          "io.containerd.image.name": "docker.io/library/app:1",
          "org.opencontainers.image.ref.name": "1",
        },
      },
    ]);
    expect(member(blobs[0] as string)).toBe("lower");
  });

  it("is an OCI layout alone as oci-archive, its image named as asked", async () => {
    await write([imageOf(["a"])], OCI);
    expect(members()).not.toContain("manifest.json");
    expect(JSON.parse(member("index.json")).manifests[0].annotations).toEqual({
      "org.opencontainers.image.ref.name": "1",
    });
  });

  it("has the same bytes whether its layers are known beforehand or not, in a file and in a pipe", async () => {
    const texts = ["x".repeat(100_000), "y", "x".repeat(100_000)];
    await write([imageOf(texts)]);
    const bytes = readFileSync(file);
    await write([imageOf(texts, { known: true })]);
    expect(readFileSync(file).equals(bytes)).toBe(true);
    for (const known of [false, true]) {
      const fifo = join(directory, "fifo");
      execFileSync("mkfifo", [fifo]);
      const reader = spawn("cat", [fifo], { stdio: ["ignore", "pipe", "inherit"] });
      const [piped] = await Promise.all([buffer(reader.stdout), write([imageOf(texts, { known })], DOCKER, fifo)]);
      expect(piped.equals(bytes)).toBe(true);
      rmSync(fifo);
    }
  });

  it("holds equal layers once", async () => {
    for (const known of [false, true]) {
      const image = imageOf(["a", "b", "a"], { known });
      await write([image]);
      expect(members().filter((name) => name === blobName(layerOf("a").diffId))).toHaveLength(1);
      expect(JSON.parse(member("manifest.json"))[0].Layers).toHaveLength(3);
      expect(member(blobName(layerOf("b").diffId))).toBe("b");
    }
  });

  it("holds several images under their own names", async () => {
    const options = { kind: "docker-archive", ref: undefined } as const;
    const two = [imageOf(["a"], { names: ["a:1", "a:2"] }), imageOf(["a", "b"], { names: ["b:1"] })];
    await write(two, options);
    const source = await readArchive(file);
    try {
      expect(source.images.map(({ layers }) => layers.map(({ diffId }) => diffId))).toEqual([
        [layerOf("a").diffId],
        [layerOf("a").diffId, layerOf("b").diffId],
      ]);
    } finally {
      source.close();
    }
    expect(JSON.parse(member("manifest.json")).map(({ RepoTags }: { RepoTags: unknown }) => RepoTags)).toEqual([
      ["a:1", "a:2"],
      ["b:1"],
    ]);
  });

  it("takes the place of what was there when it is whole, and leaves it alone until then", async () => {
    writeFileSync(file, "before");
    await expect(write([imageOf(["a", "b"], { failing: "b" })])).rejects.toThrow("a file changed");
    expect(readFileSync(file, "utf8")).toBe("before");
    expect(readdirSync(directory)).toEqual(["image.tar"]);
    await write([imageOf(["a"])]);
    expect(members()).toContain("index.json");
    expect(readdirSync(directory)).toEqual(["image.tar"]);
  });

  it("takes the place of what a link leads to, and leaves the link", async () => {
    mkdirSync(join(directory, "real"));
    const links = { "to-file.tar": "real/a.tar", "to-nothing.tar": "real/b.tar" };
    writeFileSync(join(directory, "real/a.tar"), "before");
    for (const [link, target] of Object.entries(links)) {
      symlinkSync(target, join(directory, link));
      await write([imageOf(["a"])], DOCKER, join(directory, link));
      expect(readlinkSync(join(directory, link))).toBe(target);
      file = join(directory, target);
      expect(members()).toContain("index.json");
    }
    expect(readdirSync(directory).sort()).toEqual(["real", ...Object.keys(links)]);
  });

  it("goes through a descriptor that is named, never in place of its name", async () => {
    const fd = openSync(file, "w");
    await write([imageOf(["a"])], DOCKER, `/dev/fd/${fd}`);
    closeSync(fd);
    expect(members()).toContain("index.json");
  });

  it("takes one image where it names it", async () => {
    const two = [imageOf(["a"]), imageOf(["b"])];
    await expect(write(two)).rejects.toThrow("names one image, and there are 2");
    await expect(deliverAll(two, [openOciLayoutTarget(join(directory, "layout"), "1")])).rejects.toThrow("there are 2");
    expect(readdirSync(directory)).toEqual([]);
  });

  it("refuses zstd layers for Docker, with the reason, before anything is made", async () => {
    const image = imageOf(["a"]);
    const packed = { ...image, layers: [{ compression: "zstd", known: undefined }] } as const;
    await expect(write([packed as unknown as SmallImage])).rejects.toThrow(
      `docker-archive:${file}:app:1 cannot hold zstd layers: Docker's image format has no zstd layers`,
    );
    expect(readdirSync(directory)).toEqual([]);
  });

  it("is refused where it cannot be", async () => {
    await expect(openArchiveTarget(directory, DOCKER)).rejects.toThrow("it is a directory");
    await expect(openArchiveTarget(join(directory, "no", "x.tar"), DOCKER)).rejects.toThrow("there is no directory");
  });
});

describe("several places", () => {
  it.each([
    ["docker-archive:s.tar", "oci-archive:./s.tar:1"],
    ["docker-archive:-", "oci-archive:-"],
    ["docker-archive:-", "oci-archive:/dev/stdout"],
    ["oci:x:1", "oci:./x:1"],
  ])("that are one are refused: %s and %s", async (one, other) => {
    await expect(openTargets([one, other].map(parseTransport))).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("named twice"),
    });
  });
});

describe("an image that goes to several places", () => {
  it("is made once, and only where a place lacks a layer", async () => {
    const layout = join(directory, "layout");
    await deliverAll([imageOf(["a", "b"])], [openOciLayoutTarget(layout, "1")]);
    const again = imageOf(["a", "b", "c"], { known: true });
    await deliverAll([again], [openOciLayoutTarget(layout, "2"), openOciLayoutTarget(layout, "3")]);
    expect(again.made).toEqual(["c"]);
    const both = imageOf(["a", "b", "c"], { known: true });
    await deliverAll([both], [openOciLayoutTarget(layout, "4"), await openArchiveTarget(file, DOCKER)]);
    expect(both.made).toEqual(["a", "b", "c"]);
    expect(members()).toHaveLength(8);
  });

  it("is made again where a layout's blob has another size", async () => {
    const layout = join(directory, "layout");
    await deliverAll([imageOf(["a"])], [openOciLayoutTarget(layout, "1")]);
    const blob = join(layout, blobName(layerOf("a").diffId));
    writeFileSync(blob, "");
    const again = imageOf(["a"], { known: true });
    await deliverAll([again], [openOciLayoutTarget(layout, "1")]);
    expect(again.made).toEqual(["a"]);
    expect(readFileSync(blob, "utf8")).toBe("a");
  });

  it("leaves a blob's links alone: a damaged copy is replaced, not written to", async () => {
    const [one, two] = [join(directory, "one"), join(directory, "two")];
    await deliverAll([imageOf(["a"])], [openOciLayoutTarget(one, "1")]);
    const source = join(one, blobName(layerOf("a").diffId));
    const linked = { ...imageOf(["a"], { known: true }) };
    const layers = linked.layers.map((layer) => ({ ...layer, file: async () => source }));
    await deliverAll([{ ...linked, layers }], [openOciLayoutTarget(two, "1")]);
    expect(linked.made).toEqual([]);
    expect(readFileSync(join(two, blobName(layerOf("a").diffId)), "utf8")).toBe("a");
    expect(readdirSync(two).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  it("removes what killed processes left, and nothing that running ones need", async () => {
    const layout = join(directory, "layout");
    await deliverAll([imageOf(["a"])], [openOciLayoutTarget(layout, "1")]);
    const running = openOciLayoutTarget(layout, "2");
    const sink = await running.begin();
    await sink.write(Buffer.from("b"));
    const [ours = ""] = readdirSync(layout).filter((name) => name.startsWith(".oci-nix-"));
    const killed = spawn("true");
    await new Promise((resolve) => killed.on("exit", resolve));
    const left = ours.replace(`-${process.pid}-`, `-${killed.pid}-`);
    writeFileSync(join(layout, left), "left");
    const next = openOciLayoutTarget(layout, "3");
    await (await next.begin()).discard();
    await next.close();
    expect(readdirSync(layout).filter((name) => name.startsWith(".oci-nix-"))).toEqual([ours]);
    await sink.discard();
    await running.close();
  });
});
