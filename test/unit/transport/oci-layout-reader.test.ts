import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlockWriter } from "../../../src/core/block-writer.js";
import { parsePlatform } from "../../../src/oci/platform.js";
import { readOciLayout } from "../../../src/transport/oci-layout-reader.js";
import { writeUnpacked } from "../../../src/transport/stored-layer.js";
import { hexSha256, packTar } from "../../support/confs.js";
import { DOCKER, type FixtureDescriptor, LayoutFixture, OCI } from "../../support/layouts.js";

let directory: string;
let layout: string;
let a: Buffer;
let b: Buffer;
let fixture: LayoutFixture;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-layout-reader-"));
  layout = join(directory, "layout");
  [a, b] = [await packTar([["a", "A".repeat(3000)]]), await packTar([["b", "B"]])];
  fixture = new LayoutFixture();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function read(choice: { readonly tag?: string; readonly platform?: string } = {}) {
  const { tag, platform } = choice;
  const source = await readOciLayout(fixture.write(layout), {
    tag,
    platform: platform === undefined || platform === "every" ? platform : parsePlatform(platform, "--platform"),
  });
  source.close();
  return source.images;
}

/** Names and manifest digests. */
async function listed(choice: Parameters<typeof read>[0] = {}) {
  return (await read(choice)).map(({ names, manifest }) => [...names, manifest?.descriptor.digest]);
}

/** An index of images for these platforms, and their manifests. */
function platforms(...names: readonly string[]): { index: FixtureDescriptor; images: FixtureDescriptor[] } {
  const images = names.map((name) => {
    const [os, architecture, variant] = name.split("/");
    const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
    return { ...fixture.image({ config: { ...platform, author: name } }), platform };
  });
  return { index: fixture.index(images), images };
}

describe("readOciLayout", () => {
  it("gives documents as they are stored, and layers byte for byte", async () => {
    const layers = [
      { tar: a },
      { tar: b, stored: gzipSync(b), mediaType: `${OCI}.layer.v1.tar+gzip` },
      { tar: b, stored: gzipSync(b), mediaType: `${DOCKER}.image.rootfs.diff.tar.gzip` },
    ];
    const manifest = fixture.image({ layers });
    fixture.add(manifest, "1");
    const [image] = await read();
    expect(image?.names).toEqual(["1"]);
    expect(image?.manifest?.descriptor).toEqual(manifest);
    expect(Buffer.from(image?.manifest?.bytes ?? [])).toEqual(
      fixture.files.get(`blobs/sha256/${manifest.digest.slice(7)}`),
    );
    expect(`sha256:${hexSha256(image?.config.bytes ?? "")}`).toBe(image?.config.descriptor.digest);
    expect(image?.layers.map(({ compression }) => compression)).toEqual(["none", "gzip", "gzip"]);
    for (const [i, { blob, descriptor, diffId }] of (image?.layers ?? []).entries()) {
      const { tar, stored = tar } = layers[i] as { tar: Buffer; stored?: Buffer };
      const pieces: Buffer[] = [];
      const out = new BlockWriter({ write: (bytes) => void pieces.push(Buffer.from(bytes)) }, { blockSize: 700 });
      expect(await blob.writeTo(out)).toBe(descriptor?.digest);
      await out.flush();
      expect(Buffer.concat(pieces).equals(stored)).toBe(true);
      expect(blob.size).toBe(stored.length);
      expect(blob.file).toBe(join(layout, "blobs/sha256", hexSha256(stored)));
      expect(diffId).toBe(`sha256:${hexSha256(tar)}`);
    }
  });

  it("unpacks a plain layer", async () => {
    fixture.add(fixture.image({ layers: [{ tar: a }] }));
    const [layer] = (await read())[0]?.layers ?? [];
    const pieces: Buffer[] = [];
    const sink = { write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) };
    if (layer === undefined) throw new Error("no layer");
    expect(await writeUnpacked(layer, sink)).toEqual({ diffId: `sha256:${hexSha256(a)}`, size: a.length });
    expect(Buffer.concat(pieces).equals(a)).toBe(true);
  });

  it("finds a layer by its whole name, by its tag, and by its number", async () => {
    const [one, two] = [fixture.image({ layers: [{ tar: a }] }), fixture.image({ layers: [{ tar: b }] })];
    fixture.add(one, "registry.example:5000/team/app:1");
    fixture.add(two, undefined, { annotations: { "io.containerd.image.name": "docker.io/library/web:2" } });
    fixture.add(two, "latest");
    expect(await listed({ tag: "1" })).toEqual([["registry.example:5000/team/app:1", one.digest]]);
    expect(await listed({ tag: "registry.example:5000/team/app:1" })).toHaveLength(1);
    expect(await listed({ tag: "web:2" })).toEqual([["web:2", two.digest]]);
    expect(await listed({ tag: "latest" })).toEqual([["latest", two.digest]]);
    expect(await listed({ tag: "@0" })).toEqual([["registry.example:5000/team/app:1", one.digest]]);
    expect(await listed()).toEqual([
      ["registry.example:5000/team/app:1", one.digest],
      ["web:2", "latest", two.digest],
    ]);
  });

  it("says which names there are, and which one is near", async () => {
    fixture.add(fixture.image(), "stable").add(fixture.image(), "1.2.3");
    await expect(read({ tag: "stabel" })).rejects.toMatchObject({
      code: "not-found",
      message: `${layout} has no image "stabel": its images are called stable, 1.2.3`,
      hint: "did you mean stable?",
    });
    await expect(read({ tag: "@2" })).rejects.toThrow(/has no image "@2"/);
  });

  it("does not choose between images of one tag", async () => {
    fixture.add(fixture.image({ layers: [{ tar: a }] }), "app:1").add(fixture.image({ layers: [{ tar: b }] }), "web:1");
    await expect(read({ tag: "1" })).rejects.toMatchObject({
      code: "usage",
      message: `${layout}: "1" is the tag of several images: app:1, web:1`,
    });
  });

  it("does not choose between images of one name and platform, and does not ask for a platform", async () => {
    const images = [a, b].map((tar) => fixture.image({ layers: [{ tar }] }));
    for (const image of images) fixture.add(image, "1");
    for (const platform of [{}, { platform: "linux/amd64" }]) {
      await expect(read({ tag: "1", ...platform })).rejects.toMatchObject({
        code: "usage",
        message: `${layout}: 1 names 2 images for linux/amd64: ${images.map(({ digest }) => digest).join(", ")}`,
        hint: expect.stringContaining("give each a name of its own, in a layout in index.json") as string,
      });
    }
  });

  it("names the first of many names", async () => {
    for (let i = 0; i < 12; i++) fixture.add(fixture.image(), `v${i}`);
    const error = await read({ tag: "none" }).catch((thrown: Error) => thrown);
    expect((error as Error).message).toContain(
      ": its images are called v0, v1, v2, v3, v4, v5, v6, v7, v8, v9 and 2 more",
    );
  });

  it("takes a damaged image where that is wanted, and says what is wrong with which layer", async () => {
    const gzipped = { tar: b, stored: gzipSync(b), mediaType: `${OCI}.layer.v1.tar+gzip` };
    fixture.add(
      fixture.image({
        layers: [{ tar: a }, gzipped, { tar: a, stored: b }, { tar: b, mediaType: "application/x-wasm" }],
      }),
      "1",
    );
    const hex = hexSha256(gzipped.stored);
    fixture.files.delete(`blobs/sha256/${hexSha256(a)}`);
    fixture.files.set(`blobs/sha256/${hex}`, gzipped.stored.subarray(0, 30));
    await expect(read({ tag: "1" })).rejects.toThrow(/holds no file/);
    const source = await readOciLayout(fixture.write(layout), { tag: "1", takesDamaged: true });
    const [{ layers, problems } = { layers: [], problems: undefined }] = source.images;
    expect(problems).toEqual([]);
    expect(layers.map(({ problem }) => problem?.code)).toEqual([
      "invalid-input",
      "verification",
      "verification",
      "unsupported",
    ]);
    const out = () => new BlockWriter({ write: () => undefined });
    await expect(layers[0]?.blob.writeTo(out())).rejects.toBe(layers[0]?.problem);
    await expect(layers[1]?.blob.writeTo(out())).rejects.toThrow(/but the manifest says/);
    // Its bytes are those of the manifest: it is the config that is wrong.
    expect(await layers[2]?.blob.writeTo(out())).toBe(`sha256:${hexSha256(b)}`);
    source.close();
  });

  it("asks for a platform where there are several, nested or side by side", async () => {
    const { index, images } = platforms("linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7");
    fixture.add(fixture.index([index]), "1");
    for (const image of images) fixture.add(image, "flat");
    for (const tag of ["1", "flat"]) {
      await expect(read({ tag })).rejects.toMatchObject({
        message: `${layout}: ${tag} is for several platforms: linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8`,
      });
      expect(await listed({ tag, platform: "every" })).toEqual(images.map(({ digest }) => [tag, digest]));
      const digestOf = async (platform: string) => (await listed({ tag, platform }))[0]?.[1];
      expect(await digestOf("linux/amd64")).toBe(images[0]?.digest);
      expect(await digestOf("linux/arm64")).toBe(images[1]?.digest);
      expect(await digestOf("linux/arm/v6")).toBe(images[2]?.digest);
      await expect(read({ tag, platform: "linux/arm" })).rejects.toThrow(/linux\/arm\/v6, linux\/arm\/v7$/);
      await expect(read({ tag, platform: "linux/s390x" })).rejects.toMatchObject({
        code: "not-found",
        hint: "it is for linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8",
      });
    }
  });

  it("takes the platform from the image config where the index does not say it", async () => {
    fixture.add(fixture.image({ config: { architecture: "arm64" } }), "1");
    expect(await listed({ platform: "linux/arm64/v8" })).toHaveLength(1);
    await expect(read({ platform: "linux/amd64" })).rejects.toThrow(/is not there for linux\/amd64/);
  });

  it("leaves out attestations, signatures and what an export for one platform lacks", async () => {
    const image = fixture.image();
    const unknown = fixture.image({ config: { author: "attestation" } });
    const signature = fixture.image({ manifest: { config: fixture.put("{}", "application/vnd.oci.empty.v1+json") } });
    const absent = { ...image, digest: `sha256:${"0".repeat(64)}`, platform: { os: "linux", architecture: "s390x" } };
    const index = fixture.index([
      image,
      { ...unknown, platform: { os: "unknown", architecture: "unknown" } },
      { ...unknown, artifactType: "application/vnd.example" },
      { ...unknown, annotations: { "vnd.docker.reference.type": "attestation-manifest" } },
      signature,
      absent,
      fixture.put("x", "application/x-anything"),
    ]);
    fixture.add(index, "1").add(signature, "sha256-0.sig");
    expect(await listed()).toEqual([["1", image.digest]]);
    await expect(read({ tag: "sha256-0.sig" })).rejects.toThrow(/sha256-0\.sig holds no image/);
  });

  it("reads Docker's manifests and manifest lists", async () => {
    const image = fixture.image({
      layers: [{ tar: a, stored: gzipSync(a), mediaType: `${DOCKER}.image.rootfs.diff.tar.gzip` }],
      mediaType: `${DOCKER}.distribution.manifest.v2+json`,
    });
    fixture.add(fixture.index([image], `${DOCKER}.distribution.manifest.list.v2+json`), "1");
    expect(await listed()).toEqual([["1", image.digest]]);
  });

  it("reads symlinked blobs, as build systems make them, and lets nobody link what they lead to", async () => {
    fixture.add(fixture.image({ layers: [{ tar: a }] }));
    const name = `blobs/sha256/${hexSha256(a)}`;
    fixture.write(layout);
    rmSync(join(layout, name));
    fixture.files.delete(name);
    writeFileSync(join(directory, "elsewhere"), a);
    symlinkSync(join(directory, "elsewhere"), join(layout, name));
    const blob = (await read())[0]?.layers[0]?.blob;
    expect(blob?.file).toBeUndefined();
    expect(await blob?.writeTo(new BlockWriter({ write: () => undefined }))).toBe(`sha256:${hexSha256(a)}`);
  });

  it("finds a damaged layer when it is written", async () => {
    const { digest } = fixture.image({ layers: [{ tar: a }] });
    fixture.add({
      mediaType: `${OCI}.manifest.v1+json`,
      digest,
      size: fixture.files.get(`blobs/sha256/${digest.slice(7)}`)?.length ?? 0,
    });
    fixture.files.set(`blobs/sha256/${hexSha256(a)}`, Buffer.from(a).fill(0x43, 600, 601));
    const [layer] = (await read())[0]?.layers ?? [];
    await expect(layer?.blob.writeTo(new BlockWriter({ write: () => undefined }))).rejects.toMatchObject({
      code: "verification",
      message: expect.stringContaining(`but the manifest says sha256:${hexSha256(a)}`) as string,
    });
  });

  const blob = (content: Buffer | string) => `blobs/sha256/${hexSha256(content)}`;
  it.each<readonly [string, () => unknown, string, RegExp]>([
    [
      "a manifest of another digest",
      () => fixture.add({ ...fixture.image(), size: 1 }),
      "verification",
      /bytes long, not 1$/,
    ],
    [
      "a manifest that is not there",
      () => fixture.add({ ...fixture.image(), digest: `sha256:${"0".repeat(64)}` }, "1"),
      "invalid-input",
      /holds no file "blobs\/sha256\/0000/,
    ],
    [
      "a digest of another algorithm",
      () => fixture.add({ ...fixture.image(), digest: `sha512:${"0".repeat(128)}` }),
      "unsupported",
      /index\.json: manifests\[0\]: digest sha512:0+ is not SHA-256/,
    ],
    [
      "a digest that would lead out of the layout",
      () => fixture.add({ ...fixture.image(), digest: "sha256:../../../../etc/passwd" }),
      "invalid-input",
      /index\.json: manifests\[0\]: digest: .* is not a sha256 digest/,
    ],
    [
      "a size that is none",
      () => fixture.add({ ...fixture.image(), size: -1 }),
      "invalid-input",
      /manifests\[0\]: size is not/,
    ],
    [
      "Docker's schema 1",
      () => fixture.add({ ...fixture.image(), mediaType: `${DOCKER}.distribution.manifest.v1+prettyjws` }),
      "unsupported",
      /schema 1 are not read/,
    ],
    ["an empty index", () => undefined, "invalid-input", /holds no image/],
    [
      "a manifest that calls itself an index",
      () => fixture.add(fixture.image({ manifest: { mediaType: `${OCI}.index.v1+json` } })),
      "invalid-input",
      /says it is .*index.* its descriptor says .*manifest/,
    ],
    [
      "a manifest that is an index as well",
      () => fixture.add(fixture.image({ manifest: { manifests: [] } })),
      "invalid-input",
      /is an image manifest, and has manifests as well/,
    ],
    [
      "another count of layers than diff_ids",
      () => fixture.add(fixture.image({ layers: [{ tar: a }], config: { rootfs: { diff_ids: [] } } })),
      "invalid-input",
      /has 1 layers, the image config sha256:.* has 0 diff_ids/,
    ],
    [
      "a plain layer that is not its diffID",
      () => fixture.add(fixture.image({ layers: [{ tar: a, stored: b }] })),
      "verification",
      /layers\[0\]: an unpacked layer is sha256:.*, the image config says/,
    ],
    [
      "a gzipped layer called plain",
      () => fixture.add(fixture.image({ layers: [{ tar: a, stored: gzipSync(a) }] })),
      "verification",
      /is packed by gzip, its media type says none/,
    ],
    [
      "a plain layer called zstd",
      () => fixture.add(fixture.image({ layers: [{ tar: a, mediaType: `${OCI}.layer.v1.tar+zstd` }] })),
      "verification",
      /is packed by none, its media type says zstd/,
    ],
    [
      "a layer of an unknown type",
      () => fixture.add(fixture.image({ layers: [{ tar: a, mediaType: "application/x-wasm" }] })),
      "unsupported",
      /layers\[0\]: layers of the type application\/x-wasm are not read/,
    ],
    [
      "a layer of another size",
      () => {
        fixture.add(fixture.image({ layers: [{ tar: a }] }));
        fixture.files.set(blob(a), a.subarray(512));
      },
      "verification",
      /is \d+ bytes long, its descriptor says/,
    ],
    [
      "a layer that is a directory",
      () => {
        fixture.add(fixture.image({ layers: [{ tar: a }] }));
        fixture.files.delete(blob(a));
        mkdirSync(join(layout, blob(a)), { recursive: true });
      },
      "unreadable",
      /it is not a regular file/,
    ],
    [
      "another version",
      () => fixture.files.set("oci-layout", Buffer.from('{"imageLayoutVersion":"2.0"}')),
      "unsupported",
      /"2\.0"/,
    ],
    [
      "a file oci-layout that is no text",
      () => fixture.files.set("oci-layout", Buffer.from([0xff])),
      "invalid-input",
      /UTF-8/,
    ],
    [
      "annotations that are no strings",
      () => fixture.add(fixture.image(), undefined, { annotations: { a: 1 } }),
      "invalid-input",
      /manifests\[0\]: annotations is not an object of strings/,
    ],
  ])("refuses %s", async (_, make, code, message) => {
    make();
    await expect(read()).rejects.toMatchObject({ name: "OciNixError", code, message: expect.stringMatching(message) });
  });

  it("refuses a document that is too large before it reads it", async () => {
    fixture.add(fixture.image());
    fixture.write(layout);
    const huge = join(layout, "index.json");
    truncateSync(huge, 2 ** 40);
    await expect(readOciLayout(layout)).rejects.toMatchObject({
      code: "limit",
      message: expect.stringMatching(/index\.json is larger than/) as string,
    });
  });

  it("refuses indexes that name each other's manifests over and over", async () => {
    let inner = fixture.index(Array.from({ length: 100 }, () => fixture.image()));
    for (let depth = 0; depth < 3; depth++) inner = fixture.index(Array.from({ length: 100 }, () => inner));
    fixture.add(inner);
    await expect(read()).rejects.toMatchObject({
      code: "limit",
      message: expect.stringMatching(/more than 10000 manifests/) as string,
    });
    fixture = new LayoutFixture();
    inner = fixture.image();
    for (let depth = 0; depth < 10; depth++) inner = fixture.index([inner]);
    fixture.add(inner);
    await expect(read()).rejects.toMatchObject({
      code: "limit",
      message: expect.stringMatching(/more than 8 deep/) as string,
    });
  });

  it("refuses what is no layout", async () => {
    await expect(readOciLayout(join(directory, "absent"))).rejects.toMatchObject({ code: "not-found" });
    await expect(readOciLayout(directory)).rejects.toThrow(/is no OCI layout: it has no file oci-layout/);
    writeFileSync(join(directory, "file"), "");
    await expect(readOciLayout(join(directory, "file"))).rejects.toThrow(/it is not a directory/);
  });
});
