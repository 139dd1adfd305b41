import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlockWriter } from "../../../src/core/block-writer.js";
import { nullSink } from "../../../src/core/byte-sink.js";
import { readArchive } from "../../../src/transport/archive-reader.js";
import { hexSha256, packImage, packTar } from "../../support/confs.js";

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
      await expect(read(Buffer.from("28b52ffd00", "hex"))).rejects.toMatchObject({
        message: expect.stringContaining("zstd is not on the PATH") as string,
        hint: "install the Debian package zstd",
      });
    } finally {
      process.env.PATH = path;
    }
  });

  it("leaves no temporary file behind for a gzipped archive", async () => {
    const before = readdirSync(tmpdir()).filter((name) => /^oci-nix-.{6}$/.test(name));
    await read(gzipSync(await packImage([{ name: "a", tar: a }])));
    await expect(read(Buffer.concat([gzipSync(a).subarray(0, 30)]))).rejects.toThrow(/cannot be unpacked/);
    expect(readdirSync(tmpdir()).filter((name) => /^oci-nix-.{6}$/.test(name))).toEqual(before);
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
    ["zstd that is cut off", () => Buffer.from("28b52ffd00", "hex"), /cannot be unpacked: zstd failed/],
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

  it.each([
    [
      "a changed layer",
      (layer: Buffer) => Buffer.from(layer).fill(0x43, 600, 601),
      /is sha256:.* but the image config says/,
    ],
    [
      "a gzipped layer with a damaged middle",
      (layer: Buffer) => gzipSync(layer).fill(0xff, 12, 40),
      /a cannot be unpacked: /,
    ],
    ["a gzipped layer without its end", (layer: Buffer) => gzipSync(layer).subarray(0, -6), /a cannot be unpacked: /],
  ])("finds %s when it is read", async (_, damage, message) => {
    await expect(read(await packImage([{ name: "a", tar: a, stored: damage(a) }]))).rejects.toMatchObject({
      code: "verification",
      message: expect.stringMatching(message),
    });
  });
});
