import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BlockWriter } from "../../../src/core/block-writer.js";
import { nullSink } from "../../../src/core/byte-sink.js";
import { parsePlatform } from "../../../src/oci/platform.js";
import { readArchive } from "../../../src/transport/archive-reader.js";
import { onlyImage } from "../../../src/transport/open.js";
import { hexSha256, packImage, packTar } from "../../support/confs.js";
import { LayoutFixture } from "../../support/layouts.js";

let directory: string;
let a: Buffer;
let b: Buffer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-reader-"));
  [a, b] = [await packTar([["a", "A".repeat(3000)]]), await packTar([["b", "B"]])];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Opens an archive, reads all layers, and gives their diffIDs. */
async function read(archive: Buffer): Promise<readonly string[]> {
  const path = join(directory, "image.tar");
  writeFileSync(path, archive);
  const source = await readArchive(path);
  try {
    const digests: string[] = [];
    for (const { blob, descriptor, diffId } of source.images[0]?.layers ?? []) {
      const out = new BlockWriter(nullSink, { blockSize: 700 });
      const digest = await blob.writeTo(out);
      expect(digest).toBe(descriptor?.digest ?? digest);
      expect(out.written).toBe(blob.size);
      digests.push(diffId);
    }
    return digests;
  } finally {
    source.close();
  }
}

const ids = (...layers: readonly Buffer[]) => layers.map((layer) => `sha256:${hexSha256(layer)}`);

describe("readArchive, of a docker-archive", () => {
  it("reads an archive, plain and gzipped, layers plain and gzipped", async () => {
    const plain = await packImage([
      { name: "a/layer.tar", tar: a },
      { name: "b/layer.tar", tar: b },
    ]);
    const inside = await packImage([
      { name: "a/layer.tar", tar: a, stored: gzipSync(a) },
      { name: "b/layer.tar", tar: b, stored: gzipSync(b) },
    ]);
    for (const archive of [plain, gzipSync(plain), inside, gzipSync(inside)])
      expect(await read(archive)).toEqual(ids(a, b));
  });

  it.each(["bzip2", "xz", "zstd"])("reads an archive compressed by %s", async (program) => {
    const packed = execFileSync(program, ["-c"], { input: await packImage([{ name: "a", tar: a }]) });
    expect(await read(packed)).toEqual(await read(await packImage([{ name: "a", tar: a }])));
  });

  it("names the package of a program that is missing", async () => {
    const path = process.env.PATH;
    process.env.PATH = "/nonexistent";
    try {
      await expect(read(Buffer.from("fd377a585a", "hex"))).rejects.toMatchObject({
        message: expect.stringContaining("xz is not on the PATH") as string,
        hint: "install the Debian package xz-utils",
      });
    } finally {
      process.env.PATH = path;
    }
  });

  it("does not fill the disk: what unpacks to more than 200 times its size is refused", async () => {
    const bomb = execFileSync("sh", ["-c", "head -c 1500000000 /dev/zero | zstd -q -c"]);
    await expect(read(bomb)).rejects.toMatchObject({ code: "limit", message: expect.stringContaining("unpacked") });
  });

  it("leaves no temporary file behind for a gzipped archive", async () => {
    // A directory of its own: others make temporary files at the same time.
    const own = join(directory, "tmp");
    mkdirSync(own);
    vi.stubEnv("TMPDIR", own);
    try {
      await read(gzipSync(await packImage([{ name: "a", tar: a }])));
      await expect(read(Buffer.concat([gzipSync(a).subarray(0, 30)]))).rejects.toThrow(/damaged or cut off gzip data/);
      expect(readdirSync(own)).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("takes identical layers, as images of images have them (nixpkgs#214434)", async () => {
    expect(
      await read(
        await packImage([
          { name: "a", tar: a },
          { name: "a", tar: a },
        ]),
      ),
    ).toEqual(ids(a, a));
  });

  it("follows symlinks and hard links between layers, as old docker save wrote them", async () => {
    const config = JSON.stringify({ rootfs: { diff_ids: ids(a, a, a) } });
    const archive = await packTar([
      ["one/layer.tar", a],
      ["two/layer.tar", { symlink: "../one/layer.tar" }],
      ["three/layer.tar", { link: "one/layer.tar" }],
      ["c.json", config],
      [
        "./manifest.json",
        JSON.stringify([{ Config: "c.json", Layers: ["one/layer.tar", "two/layer.tar", "./three/layer.tar"] }]),
      ],
    ]);
    expect(await read(archive)).toEqual(ids(a, a, a));
  });

  it.each([
    [
      "a loop of symlinks",
      [
        ["x", { symlink: "y" }],
        ["y", { symlink: "x" }],
      ],
      "x",
      /holds no file "x"/,
    ],
    ["a missing layer", [], "x", /holds no file "x"/],
    ["a layer that is a link to nothing", [["x", { symlink: "../../etc/passwd" }]], "x", /holds no file "x"/],
  ] as const)("refuses %s", async (_, members, name, message) => {
    const archive = await packTar([
      ...members,
      ["c.json", JSON.stringify({ rootfs: { diff_ids: ids(a) } })],
      ["manifest.json", JSON.stringify([{ Config: "c.json", Layers: [name] }])],
    ]);
    await expect(read(archive)).rejects.toThrow(message);
  });

  it.each([
    ["nothing", () => Buffer.alloc(0), /holds no image: neither/],
    ["noise", () => Buffer.alloc(4096, 0x9c), /is not a complete tar archive/],
    ["zstd that is cut off", () => Buffer.from("28b52ffd00", "hex"), /damaged or cut off zstd data/],
    ["xz that is cut off", () => Buffer.from("fd377a585a", "hex"), /cannot be unpacked: xz failed/],
    ["a tar without a manifest", () => packTar([["a", "A"]]), /holds no image: neither/],
    ["a manifest that is no JSON", () => packTar([["manifest.json", "{"]]), /manifest.json is not valid JSON/],
    ["an empty manifest", () => packTar([["manifest.json", "[]"]]), /does not describe an image/],
    [
      "a manifest of wrong types",
      () => packTar([["manifest.json", '[{"Config":1,"Layers":[2]}]']]),
      /does not describe an image/,
    ],
    [
      "a config without diff_ids",
      () =>
        packTar([
          ["c", "{}"],
          ["manifest.json", '[{"Config":"c","Layers":[]}]'],
        ]),
      /is not an image config/,
    ],
    [
      "fewer diff_ids than layers",
      () =>
        packTar([
          ["c", '{"rootfs":{"diff_ids":[]}}'],
          ["manifest.json", '[{"Config":"c","Layers":["a"]}]'],
        ]),
      /lists 1 layers, c has 0 diff_ids/,
    ],
    [
      "a diff_id that is none",
      () =>
        packTar([
          ["a", "A"],
          ["c", '{"rootfs":{"diff_ids":["md5:0"]}}'],
          ["manifest.json", '[{"Config":"c","Layers":["a"]}]'],
        ]),
      /"md5:0" is not a sha256 digest/,
    ],
  ] as const)("refuses %s", async (_, archive, message) => {
    await expect(read(await archive())).rejects.toThrow(message);
  });

  it("refuses an archive cut off anywhere", async () => {
    const archive = await packImage([
      { name: "a", tar: a },
      { name: "b", tar: b },
    ]);
    for (let length = 100; length < archive.length - 1024; length += 700) {
      await expect(read(archive.subarray(0, length)), `${length}`).rejects.toMatchObject({ name: "OciNixError" });
    }
    const packed = gzipSync(archive);
    for (const length of [3, 20, packed.length - 1]) {
      await expect(read(packed.subarray(0, length)), `gzip ${length}`).rejects.toMatchObject({ name: "OciNixError" });
    }
  });

  it("skips what members hold, and refuses an extended header that no name needs", async () => {
    const path = join(directory, "image.tar");
    const header = (name: string, type: string, size: number) => {
      const block = Buffer.alloc(512);
      const number = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\x00`;
      block.write(`${name.padEnd(100, "\x00")}${number(0o644, 7)}${number(0, 7)}${number(0, 7)}${number(size, 11)}`);
      block.write(`${number(0, 11)}        `, 136);
      block.write(`${type}`, 156);
      block.write("ustar\x0000", 257, "latin1");
      block.write(
        `${block
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, "0")}\0 `,
        148,
      );
      return block;
    };
    const size = 2 ** 32;
    for (const [type, code] of [
      ["0", "invalid-input"],
      ["x", "limit"],
    ] as const) {
      writeFileSync(path, header("huge", type, size));
      truncateSync(path, 512 + size);
      await expect(readArchive(path)).rejects.toMatchObject({ code });
    }
  });

  it.each([
    [
      "a changed layer",
      (layer: Buffer) => Buffer.from(layer).fill(0x43, 600, 601),
      /is sha256:.* but the image config says/,
    ],
    [
      "a gzipped layer with a damaged middle",
      (layer: Buffer) => gzipSync(layer).fill(0xff, 12, 40),
      /a: damaged or cut off gzip data: /,
    ],
    [
      "a gzipped layer without its end",
      (layer: Buffer) => gzipSync(layer).subarray(0, -6),
      /a: damaged or cut off gzip data: /,
    ],
  ])("finds %s when it is read", async (_, damage, message) => {
    await expect(read(await packImage([{ name: "a", tar: a, stored: damage(a) }]))).rejects.toMatchObject({
      code: "verification",
      message: expect.stringMatching(message),
    });
  });
});

describe("readArchive, of several images", () => {
  const open = async (archive: Buffer, choice: Parameters<typeof readArchive>[1] = {}) => {
    const path = join(directory, "image.tar");
    writeFileSync(path, archive);
    const source = await readArchive(path, choice);
    source.close();
    return source.images;
  };
  const summary = async (...args: Parameters<typeof open>) =>
    (await open(...args)).map(({ names, layers }) => [...names, ...layers.map(({ diffId }) => diffId)]);
  const config = (more: object, ...layers: readonly Buffer[]) =>
    JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { diff_ids: ids(...layers) }, ...more });

  const several = (): Promise<Buffer> =>
    packTar([
      [
        "manifest.json",
        JSON.stringify([
          { Config: "a.json", RepoTags: ["registry.example:5000/app:1", "app:latest"], Layers: ["a.tar"] },
          { Config: "b.json", RepoTags: null, Layers: ["b.tar"] },
          { Config: "ab.json", RepoTags: ["web:1"], Layers: ["a.tar", "b.tar"] },
        ]),
      ],
      ["a.json", config({}, a)],
      ["b.json", config({ architecture: "arm64" }, b)],
      ["ab.json", config({}, a, b)],
      ["a.tar", a],
      ["b.tar", b],
    ]);

  it("does not choose between images of one name", async () => {
    const archive = await packTar([
      ["manifest.json", JSON.stringify(["a", "b"].map((name) => ({ Config: `${name}.json`, RepoTags: ["app:1"] })))],
      ...["a", "b"].map((name) => [`${name}.json`, config({ config: { User: name } })] as const),
    ]);
    for (const ref of ["app:1", "1"]) {
      await expect(open(archive, { ref })).rejects.toMatchObject({
        code: "usage",
        message: expect.stringMatching(/: several images have one name: app:1, app:1$/) as string,
        hint: expect.stringContaining("give each a name of its own") as string,
      });
    }
    const images = await open(archive);
    expect(() => onlyImage({ images, close: () => undefined }, "it")).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("give each a name of its own") as string }) as Error,
    );
  });

  it("gives all of a docker-archive, or the one of a name, tag, number or platform", async () => {
    const archive = await several();
    const [idA, idB] = ids(a, b);
    const [one, two, three] = [["registry.example:5000/app:1", "app:latest", idA], [idB], ["web:1", idA, idB]];
    expect(await summary(archive)).toEqual([one, two, three]);
    expect(await summary(archive, { ref: "docker.io/library/app:latest" })).toEqual([["app:latest", idA]]);
    expect(await summary(archive, { ref: "latest" })).toEqual([["app:latest", idA]]);
    expect(await summary(archive, { ref: "@1" })).toEqual([two]);
    expect(await summary(archive, { platform: parsePlatform("linux/arm64", "--platform") })).toEqual([two]);
    await expect(open(archive, { ref: "1" })).rejects.toThrow(/"1" is the tag of several images: registry/);
    await expect(open(archive, { ref: "wed:1" })).rejects.toMatchObject({
      code: "not-found",
      hint: "did you mean web:1?",
    });
    await expect(open(archive, { ref: "web:1", platform: parsePlatform("linux/arm64", "") })).rejects.toMatchObject({
      code: "not-found",
      hint: "it is for linux/amd64",
    });
  });

  it("refuses a config that is not what its name says", async () => {
    const name = `${"0".repeat(64)}.json`;
    const archive = await packTar([
      [name, config({})],
      ["manifest.json", JSON.stringify([{ Config: name, Layers: [] }])],
    ]);
    await expect(open(archive)).rejects.toMatchObject({ code: "verification" });
  });

  describe("that is an OCI layout as well", () => {
    const both = (
      change: { names?: readonly string[]; layers?: (names: string[]) => string[]; refName?: string } = {},
    ) => {
      const fixture = new LayoutFixture();
      const manifest = fixture.image({ layers: [{ tar: a }, { tar: b }] });
      const other = fixture.image({ layers: [{ tar: b }] });
      fixture.add(manifest, "1", {
        annotations: { "io.containerd.image.name": change.refName ?? "docker.io/library/app:1" },
      });
      fixture.add(other);
      const blobs = (digests: readonly string[]) =>
        digests.map((digest) => digest.replace(":", "/").replace(/^/, "blobs/"));
      const documentOf = (digest: string) =>
        JSON.parse(String(fixture.files.get(blobs([digest])[0] as string))) as { config: { digest: string } };
      const [Config] = blobs([documentOf(manifest.digest).config.digest]);
      const Layers = (change.layers ?? ((names) => names))(blobs(ids(a, b)));
      const described = [{ Config, RepoTags: change.names ?? ["app:1"], Layers }];
      return fixture.archive([["manifest.json", JSON.stringify(described)]]);
    };

    it("takes manifests and names from index.json", async () => {
      const images = await open(await both());
      expect(images.map(({ names }) => names)).toEqual([["app:1"], []]);
      expect(images.every(({ manifest }) => manifest !== undefined)).toBe(true);
    });

    it("knows an image by the names of either", async () => {
      const [image] = await open(await both({ names: ["docker.io/library/app:1", "other:1"] }));
      expect(image?.names).toEqual(["app:1", "other:1"]);
    });

    it("finds an image that only manifest.json names", async () => {
      const [image] = await open(await both({ names: ["team/app:2"] }), { ref: "team/app:2" });
      expect(image?.names).toEqual(["team/app:2"]);
      expect(image?.layers).toHaveLength(2);
    });

    it.each([
      ["another order of layers", { layers: (names: string[]) => names.reverse() }, /layer 0 is blobs\/sha256/],
      ["fewer layers", { layers: (names: string[]) => names.slice(1) }, /1 layers, and 2/],
    ] as const)("refuses %s", async (_, change, message) => {
      await expect(open(await both(change))).rejects.toMatchObject({
        code: "invalid-input",
        message: expect.stringMatching(message) as string,
      });
    });

    it("refuses one name for two images", async () => {
      const fixture = new LayoutFixture();
      fixture
        .add(fixture.image({ layers: [{ tar: a }] }), "app:1")
        .add(fixture.image({ layers: [{ tar: b }] }), "web:1");
      const [name] = [...fixture.files].find(([, bytes]) => bytes.includes(`diff_ids":["${ids(b)[0]}`)) as [
        string,
        Buffer,
      ];
      const layer = `blobs/sha256/${hexSha256(b)}`;
      const described = JSON.stringify([{ Config: name, RepoTags: ["app:1"], Layers: [layer] }]);
      await expect(open(await fixture.archive([["manifest.json", described]]))).rejects.toThrow(
        /disagree: app:1 is sha256/,
      );
    });

    it("refuses an image that index.json does not have", async () => {
      const archive = await new LayoutFixture().archive([
        ["c", config({})],
        ["manifest.json", JSON.stringify([{ Config: "c", Layers: [] }])],
      ]);
      await expect(open(archive)).rejects.toThrow(/index\.json has no image with the config/);
    });
  });

  describe("of Docker before 1.10", () => {
    const [bottom, top] = ["1".repeat(64), "2".repeat(64)];
    const legacy = (more: { parent?: string; repositories?: unknown } = {}) =>
      packTar([
        [
          "repositories",
          JSON.stringify(
            more.repositories ?? { "registry.example/app": { "1": top, latest: top }, base: { "1": bottom } },
          ),
        ],
        [`${bottom}/VERSION`, "1.0"],
        [
          `${bottom}/json`,
          JSON.stringify({
            id: bottom,
            ...(more.parent === undefined ? {} : { parent: more.parent }),
            created: "2014-01-01T00:00:00Z",
            container_config: { Cmd: ["/bin/sh", "-c", "#(nop) ADD"] },
            comment: "base",
          }),
        ],
        [`${bottom}/layer.tar`, a],
        [
          `${top}/json`,
          JSON.stringify({
            id: top,
            parent: bottom,
            created: "2015-01-01T00:00:00Z",
            author: "me",
            config: { Cmd: ["b"] },
            os: "",
          }),
        ],
        [`${top}/layer.tar`, { symlink: `../${bottom}/layer.tar` }],
      ]);

    it("makes an image config of the v1 images, with diffIDs of what is read", async () => {
      const images = await open(await legacy());
      expect(images.map(({ names }) => names)).toEqual([
        ["registry.example/app:1", "registry.example/app:latest"],
        ["base:1"],
      ]);
      expect(JSON.parse(String(Buffer.from(images[0]?.config.bytes ?? [])))).toEqual({
        created: "2015-01-01T00:00:00Z",
        author: "me",
        architecture: "amd64",
        os: "linux",
        config: { Cmd: ["b"] },
        rootfs: { type: "layers", diff_ids: ids(a, a) },
        history: [
          { created: "2014-01-01T00:00:00Z", created_by: "/bin/sh -c #(nop) ADD", comment: "base" },
          { created: "2015-01-01T00:00:00Z", author: "me" },
        ],
      });
      expect((await open(await legacy(), { ref: "base:1" }))[0]?.layers).toHaveLength(1);
    });

    it.each([
      ["a circle of parents", { parent: top }, /is its own ancestor/],
      ["a parent that leads out of the archive", { parent: "../../etc" }, /json: parent is not the ID of a v1 image/],
      ["a parent that is not there", { parent: "3".repeat(64) }, /holds no file "3+\/json"/],
      ["repositories without images", { repositories: { app: {} } }, /repositories names no image/],
      ["repositories of another shape", { repositories: [] }, /repositories is not an object/],
    ])("refuses %s", async (_, more, message) => {
      await expect(open(await legacy(more))).rejects.toMatchObject({
        name: "OciNixError",
        message: expect.stringMatching(message) as string,
      });
    });
  });
});
