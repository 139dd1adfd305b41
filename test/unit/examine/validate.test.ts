import { describe, expect, it } from "vitest";
import { sha256 } from "../../../src/core/digest.js";
import { LayerCheck } from "../../../src/examine/check-layer.js";
import { Findings } from "../../../src/examine/findings.js";
import { type ValidatedImage, validateImages } from "../../../src/examine/validate.js";
import { TarEntries } from "../../../src/tar/entries.js";
import type { StoredImage, StoredLayer } from "../../../src/transport/image.js";
import { sign } from "../../support/hostile/tar.js";
import { documentOf, type Entry, headerOf, imageOf, layerOf, sourceOf, tarOf } from "./fixtures.js";

async function validate(image: StoredImage): Promise<ValidatedImage> {
  const [validated] = await validateImages(sourceOf(image));
  return validated as ValidatedImage;
}

/** `severity code where: message` of each finding. */
async function findingsOf(image: StoredImage): Promise<readonly string[]> {
  const { findings } = await validate(image);
  return findings.map(({ severity, code, where, message }) => `${severity} ${code} ${where}: ${message}`);
}

describe("a layer of absurdly many entries", () => {
  const write = (check: LayerCheck, ...names: readonly string[]) => {
    const visitor = check.begin("layer 1", true, 1);
    const entries = new TarEntries(visitor, "layer 1");
    for (const name of names) entries.write(headerOf(name, { type: "5" }));
    visitor.finish();
  };
  const message = /^layer 1: the image has more than 4 entries and directories, and is not checked further$/;

  it("is checked up to the limit, which all layers of an image have together", () => {
    const check = new LayerCheck(new Findings(), 4);
    write(check, "a", "a");
    write(check, "a", "a");
    expect(() => write(check, "a")).toThrow(message);
  });

  it("or of directories that have none is checked up to the limit", () => {
    const check = new LayerCheck(new Findings(), 4);
    write(check, "a/b/c/d");
    write(check, "a/b/c/d");
    write(check, "a/b/c/e");
    expect(() => write(check, "a")).toThrow(message);
  });
});

type Entries = readonly (readonly [string, (Entry | string)?])[];

const layers = (...contents: readonly Entries[]) => contents.map((entries) => layerOf(tarOf(...entries)));

describe("a sound image", () => {
  it("has no findings, however it is packed", async () => {
    const entries: Entries = [
      ["./"],
      ["bin/"],
      ["bin/a", "text"],
      ["bin/b", { type: "1", link: "bin/a" }],
      ["lib/", { mode: 0o555 }],
      ["lib/l", { link: "../bin/a" }],
    ];
    const tar = tarOf(...entries);
    const image = imageOf([layerOf(tar), layerOf(tar, { packed: "gzip" })]);
    expect(await validate(image)).toEqual({
      names: ["app:1"],
      manifest: image.manifest?.descriptor.digest,
      config: image.config.descriptor.digest,
      layers: 2,
      entries: 12,
      unpackedSize: 2 * tar.length,
      findings: [],
      valid: true,
    });
  });

  it("may have a directory where a lower layer has a symlink, or hide the symlink, or what it lies in", async () => {
    const symlink: Entries = [["a/"], ["a/l", { link: "x" }]];
    for (const second of [
      [["a/"], ["a/l/"], ["a/l/f", "x"]],
      [["a/.wh..wh..opq"], ["a/l/f", "x"]],
    ] satisfies Entries[]) {
      expect(await findingsOf(imageOf(layers(symlink, second)))).toEqual([]);
      expect(await findingsOf(imageOf(layers(symlink, second, [["a/l/g", "x"]])))).toEqual([]);
    }
    for (const second of [[["a/"], ["a/.wh.l"]], [[".wh.a"]], [["a"]]] satisfies Entries[]) {
      expect(await findingsOf(imageOf(layers(symlink, second, [["a/"]], [["a/l/g", "x"]])))).toEqual([]);
    }
  });

  it("may have a directory where a file was, in whichever lower layer", async () => {
    const file: Entries = [["d/"], ["d/e", "x"]];
    for (const second of [
      [["d/"], ["d/e/"], ["d/e/f", "x"]],
      [["d/.wh..wh..opq"], ["d/e/f", "x"]],
      [["d/e/.wh..wh..opq"]],
    ] satisfies Entries[]) {
      expect(await findingsOf(imageOf(layers(file, [["x"]], second)))).toEqual([]);
    }
    for (const second of [[["d/.wh.e"]], [[".wh.d"]], [["d/e/"]]] satisfies Entries[]) {
      expect(await findingsOf(imageOf(layers(file, second, [["d/e/f", "x"]])))).toEqual([]);
    }
  });
});

describe("entries", () => {
  it.each<readonly [string, readonly Entries[], string]>([
    ["a repeated name", [[["a"], ["a"]]], "error duplicate layer 1: a is there more than once"],
    ["a name with and without a slash", [[["nix/"], ["nix", { type: "5" }]]], "error duplicate layer 1: nix is"],
    ["a name with and without ./", [[["a"], ["./a"]]], "error duplicate layer 1: ./a is"],
    [
      "an entry below a symlink of its layer",
      [[["l", { link: "/" }], ["l/a"]]],
      "error under-symlink layer 1: l/a lies in l, a symlink in this layer",
    ],
    [
      "an entry below a symlink of a lower layer",
      [[["d/"], ["d/l", { link: "/" }]], [["x"]], [["d/"], ["d/l/a"]]],
      "error under-symlink layer 3: d/l/a lies in d/l, a symlink in a lower layer",
    ],
    [
      "a whiteout below a file",
      [[["f/a"]], [["f"], ["f/.wh.a"]]],
      "warning under-file layer 2: f/.wh.a lies in f, which is no directory",
    ],
    ["an entry below a file", [[["f"], ["f/a"]]], "error under-file layer 1: f/a lies in f, which is no directory"],
    [
      "a hard link before its target",
      [
        [
          ["b", { type: "1", link: "a" }],
          ["a", "x"],
        ],
      ],
      "error hard-link layer 1: b is a hard link to a, which does not come before it in this layer",
    ],
    [
      "a hard link to another layer",
      [[["a", "x"]], [["b", { type: "1", link: "a" }]]],
      "error hard-link layer 2: b is a hard link to a, which",
    ],
    [
      "a hard link to a directory",
      [[["a/"], ["b", { type: "1", link: "a" }]]],
      "error hard-link layer 1: b is a hard link to a, a directory",
    ],
    ["a name that leads out", [[["a/../../b"]]], 'error parent-reference layer 1: a/../../b has a component ".."'],
    ["absolute names", [[["/a"], ["/b"]]], "note absolute-name layer 1: 2 names are absolute"],
    ["a name that is no UTF-8", [[["a\xff"]]], "note name-bytes layer 1: a\\xff is not UTF-8"],
    [
      "a component that is too long",
      [[["x", { pax: { path: "y".repeat(256) } }]]],
      `error bad-name layer 1: ${"y".repeat(256)} is longer than Linux allows`,
    ],
    ["a name with a NUL", [[["x", { pax: { path: "a\0b" } }]]], "error bad-name layer 1: a\\x00b: no file can be"],
    ["a device", [[["null", { type: "3" }]]], "note device layer 1: null is a character device 0:0"],
    ["an unknown type", [[["odd", { type: "Q" }]]], "warning entry-type layer 1: odd is of a type"],
    [
      "a sparse file",
      [[["s", { pax: { "GNU.sparse.major": "1" } }]]],
      "note sparse layer 1: s is stored without its holes, as GNU tar does: it has 0 bytes with them",
    ],
    [
      "a whiteout of nothing",
      [[["a"]], [[".wh."]]],
      "error whiteout layer 2: .wh. is no well-formed whiteout: it names",
    ],
    ["a whiteout of ..", [[["a/"]], [["a/.wh..."]]], "error whiteout layer 2: a/.wh... is no well-formed whiteout"],
    ["AUFS's files", [[["a"]], [[".wh..wh.plnk/"]]], "error whiteout layer 2: .wh..wh.plnk/ is no well-formed"],
    ["an entry in a whiteout", [[["a"]], [[".wh.a/b"]]], "error whiteout layer 2: .wh.a/b is no well-formed whiteout"],
    ["a whiteout with contents", [[["a"]], [[".wh.a", "x"]]], "warning whiteout layer 2: .wh.a is a whiteout, but not"],
    ["a whiteout in the first layer", [[[".wh.a"]]], "note whiteout layer 1: .wh.a hides nothing"],
    [
      "a whiteout before its namesake",
      [[["a"]], [[".wh.a"], ["a"]]],
      "warning whiteout layer 2: a is in this layer, as",
    ],
    [
      "a whiteout after its namesake",
      [[["a"]], [["a"], [".wh.a"]]],
      "error whiteout layer 2: a is in this layer, as is a whiteout after it",
    ],
    [
      "a whiteout after what it hides",
      [[["a"]], [["d/x"], [".wh.d"]]],
      "error whiteout layer 2: d is in this layer, as is a whiteout after it",
    ],
    [
      "a whiteout of what an entry lies in",
      [[["d/"]], [[".wh.d"], ["d/e/x"]]],
      "error whiteout layer 2: d/e/x lies in d, which this layer hides and has no entry for before it",
    ],
    [
      "an entry in a file of a lower layer",
      [[["d/e"]], [["x"]], [["d/e/f/g"]]],
      "warning under-file layer 3: d/e/f/g lies in d/e, which is no directory in a lower layer",
    ],
    ["a symlink to nothing", [[["l", { type: "2" }]]], "error bad-link layer 1: l links to nothing: no file"],
    [
      "a symlink with a NUL",
      [[["l", { link: "x", pax: { linkpath: "a\0b" } }]]],
      "error bad-link layer 1: l links to a\\x00b: no file",
    ],
    [
      "a symlink that is too long",
      [[["l", { link: "x", pax: { linkpath: "x".repeat(4096) } }]]],
      "error bad-link layer 1: l links to more than Linux allows: xxx",
    ],
    ["a root that is a symlink", [[[".", { link: "/tmp" }]]], "warning root layer 1: . is the root, and no directory"],
    ["a root that is a file", [[["./", { type: "0" }]]], "warning root layer 1: ./ is the root, and no directory"],
    [
      "an absurd owner",
      [[["a", { pax: { uid: "1099511627776" } }]]],
      "warning owner layer 1: a is owned by 1099511627776:0",
    ],
    ["a negative group", [[["a", { pax: { gid: "-1" } }]]], "warning owner layer 1: a is owned by 0:-1, which"],
  ])("are found: %s", async (_, contents, expected) => {
    const found = await findingsOf(imageOf(layers(...contents)));
    expect(found).toHaveLength(1);
    expect(found[0]?.slice(0, expected.length)).toBe(expected);
  });

  it("are found: a device that Linux does not have", async () => {
    const device = headerOf("d", { type: "3" });
    Buffer.from("8000000000200000", "hex").copy(device, 329);
    expect(await findingsOf(imageOf([layerOf(Buffer.concat([sign(device), Buffer.alloc(1024)]))]))).toEqual([
      "note device layer 1: d is a character device 2097152:0",
      "warning device layer 1: d is the device 2097152:0, which Linux does not have",
    ]);
  });

  it("with an absolute name are where those with a relative one are", async () => {
    expect(await findingsOf(imageOf(layers([["a"], ["/a"]])))).toEqual([
      "error duplicate layer 1: /a is there more than once",
      "note absolute-name layer 1: 1 names are absolute",
    ]);
  });

  it("of a kind are listed ten times for a layer, and the rest counted", async () => {
    const entries: Entries = Array.from({ length: 25 }, (_, i) => [`../${i}`] as const);
    const found = await findingsOf(imageOf(layers(entries, entries)));
    expect(found).toHaveLength(22);
    expect(found.slice(-2)).toEqual([
      "error parent-reference layer 1: 15 more like these",
      "error parent-reference layer 2: 15 more like these",
    ]);
  });
});

describe("many findings of a kind", () => {
  it("hide none that is worse", async () => {
    const hiding: Entries = Array.from({ length: 12 }, (_, i) => [`.wh.${i}`] as const);
    const found = await findingsOf(imageOf(layers([...hiding, [".wh."]])));
    expect(found).toHaveLength(12);
    expect(found).toContainEqual(expect.stringMatching(/^error whiteout layer 1: \.wh\. is no well-formed/));
    expect(found).toContain("note whiteout layer 1: 2 more like these");
  });
});

describe("bytes", () => {
  const tar = tarOf(["a", "x".repeat(2000)]);
  const one = (layer: StoredLayer) => findingsOf(imageOf([layer]));
  const flipped = (bytes: Buffer, at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] as number) ^ 1;
    return copy;
  };

  it("that are not those of the diffID are found", async () => {
    const other = sha256("other");
    expect(await one(layerOf(tar, { diffId: other }))).toEqual([
      `error diff-id layer 1: unpacked it is ${sha256(tar)}, but the config says ${other}`,
    ]);
  });

  it("that are not as many as recorded are found", async () => {
    const { descriptor } = layerOf(tar);
    expect(
      await one(layerOf(tar, { descriptor: { ...descriptor, size: 7 } as NonNullable<typeof descriptor> })),
    ).toEqual([`error size layer 1: it has ${tar.length} bytes, not 7 as recorded`]);
  });

  it.each([
    ["a wrong checksum", flipped(tar, 5), /^error damaged layer 1: layer 1 is not a sound tar archive: .* at byte 0$/],
    [
      "a cut archive",
      tar.subarray(0, 1000),
      /^error damaged layer 1: .* is not a complete tar archive: it ends at byte 1000$/,
    ],
    ["a cut header", tar.subarray(0, 300), /^error damaged .* it ends at byte 300$/],
    ["text", Buffer.from("x".repeat(1024)), /^error damaged layer 1: .* a header whose checksum is wrong at byte 0$/],
    [
      "an absurd size",
      Buffer.concat([headerOf("a", { size: 8 ** 11 - 1 }), Buffer.alloc(512)]),
      /^error damaged .* it ends at byte 1024$/,
    ],
    [
      "a pax size that is none",
      tarOf(["a", { pax: { size: "9".repeat(20) } }]),
      /^error damaged .* an entry of 100000000000000000000 bytes at byte 1024$/,
    ],
    ["a pax bomb", headerOf("a", { type: "x", size: 2 ** 31 }), /^error limit .* extended headers of 2147483648 bytes/],
    ["pax records that do not fit", tarOf(["x", "12 path=abc\n"]), undefined],
  ])("that are no archive are found: %s", async (_, bytes, expected) => {
    const found = await one(layerOf(bytes));
    if (expected === undefined) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringMatching(expected)]);
  });

  it("that are packed and cut, or packed otherwise than said, are found", async () => {
    const packed = layerOf(tar, { packed: "gzip" });
    const stored = (await import("node:zlib")).gzipSync(tar);
    const cut = layerOf(tar, { packed: "gzip", stored: stored.subarray(0, stored.length - 9) });
    expect(await one(cut)).toEqual([expect.stringMatching(/^error damaged layer 1: /)]);
    const mistyped = { ...packed, descriptor: { ...packed.descriptor, mediaType: layerOf(tar).descriptor?.mediaType } };
    expect(await one(mistyped as StoredLayer)).toEqual([
      "error media-type layer 1: application/vnd.oci.image.layer.v1.tar is not what the bytes are: gzip",
    ]);
  });

  it("that unpack to absurdly many are not read further", async () => {
    const zlib = await import("node:zlib");
    // Gzip members may follow each other: this one unpacks to 1.6 GB of zeros.
    const zeros = zlib.gzipSync(Buffer.alloc(16 << 20));
    const stored = Buffer.concat(Array.from({ length: 100 }, () => zeros));
    const header = zlib.gzipSync(headerOf("a", { size: 8 ** 11 - 512 }));
    expect(await one(layerOf(tar, { packed: "gzip", stored: Buffer.concat([header, stored]) }))).toEqual([
      "error limit layer 1: layer 1 unpacks to more than 200 times its size, and is not read further",
    ]);
  }, 60_000);

  it.each([
    ["GNU.sparse.realsize", { "GNU.sparse.major": "1", "GNU.sparse.realsize": `${10 ** 15}` }, 10 ** 15],
    ["GNU.sparse.size", { "GNU.sparse.map": "0,1", "GNU.sparse.size": `${10 ** 15}` }, 10 ** 15],
    ["a header of old", undefined, 8 ** 11 - 1],
  ])("that unpack to absurdly many with their holes are found: %s", async (_, pax, size) => {
    const old = headerOf("x", { type: "S" });
    old.write("7".repeat(11), 483, "latin1");
    const bytes = pax === undefined ? Buffer.concat([sign(old), Buffer.alloc(1024)]) : tarOf(["x", { pax }]);
    expect(await one(layerOf(bytes))).toEqual([
      `note sparse layer 1: x is stored without its holes, as GNU tar does: it has ${size} bytes with them`,
      `error limit layer 1: layer 1 unpacks to ${size} bytes with the holes of x, more than the 1073741824 that are taken, and is not read further`,
    ]);
  });

  it("that unpack to absurdly many with the holes of all files are found", async () => {
    const holes = { pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": `${2 ** 29}` } };
    const found = await one(layerOf(tarOf(["a", holes], ["b", holes], ["c", holes], ["d", holes])));
    expect(found.filter((finding) => finding.startsWith("error"))).toEqual([
      "error limit layer 1: layer 1 unpacks to 1610612736 bytes with the holes of c, more than the 1073741824 that are taken, and is not read further",
    ]);
    expect(await one(layerOf(tarOf(["a", { pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": "-1" } }])))).toEqual(
      [expect.stringMatching(/^error damaged layer 1: .* a file of -1 bytes with its holes/)],
    );
  });

  it("of nothing that follow a packed layer are damage, as Go says", async () => {
    const stored = Buffer.concat([(await import("node:zlib")).gzipSync(tar), Buffer.alloc(512)]);
    expect(await one(layerOf(tar, { packed: "gzip", stored }))).toEqual([
      "error damaged layer 1: layer 1: damaged or cut off gzip data: zeros follow the last member",
    ]);
  });

  it("after the archive's end are noted", async () => {
    expect(await one(layerOf(Buffer.concat([tar, Buffer.from("more")])))).toEqual([
      "note trailing-bytes layer 1: bytes other than zeros follow the archive's end",
    ]);
  });
});

describe("fields that are none of ours", () => {
  it("are no findings: what Docker writes besides the image-spec", async () => {
    const config = { Hostname: "", AttachStdin: false, Image: "", Env: null, Labels: null, OnBuild: null, Cmd: ["sh"] };
    const image = imageOf([layerOf(tarOf(["a"]))], {
      config: { config, container_config: {}, docker_version: "20.10", created: "2020-01-01T00:00:00.123456789Z" },
    });
    expect(await findingsOf(image)).toEqual([]);
  });
});

describe("documents", () => {
  const layer = layerOf(tarOf(["a"]));
  const many = (count: number) => Array.from({ length: count }, () => layer);

  it.each<readonly [string, StoredImage, string]>([
    [
      "a schema version",
      imageOf([layer], { manifest: { schemaVersion: 1 } }),
      "error manifest manifest: schemaVersion is 1",
    ],
    [
      "missing layers",
      imageOf([layer], { manifest: { layers: [] } }),
      "error manifest manifest: it lists 0 layers, there are 1",
    ],
    [
      "another config",
      imageOf([layer], { manifest: { config: {} } }),
      "error manifest manifest: its config is missing, not",
    ],
    [
      "a media type that is no layer's",
      imageOf([layer], { manifest: { layers: [{ mediaType: "text/plain" }] } }),
      'error media-type layer 1: the media type "text/plain": it is no layer\'s',
    ],
    [
      "zstd in Docker's schema",
      imageOf([layer], { manifest: { layers: [{ mediaType: "application/vnd.docker.image.rootfs.diff.tar.zstd" }] } }),
      'error media-type layer 1: the media type "application/vnd.docker.image.rootfs.diff.tar.zstd": Docker\'s schema 2 has',
    ],
    [
      "the type of rootfs",
      imageOf([layer], { config: { rootfs: { diff_ids: [layer.diffId] } } }),
      "error config config: rootfs.type",
    ],
    [
      "too few diff_ids",
      imageOf([layer], { config: { rootfs: { type: "layers" } } }),
      "error config config: rootfs.diff_ids has 0",
    ],
    ["a missing platform", imageOf([layer], { config: { os: "" } }), "warning platform config: os is missing"],
    [
      "a short history",
      imageOf([layer, layer], { config: { history: [{}] } }),
      "note history config: history speaks of 1",
    ],
    [
      "a long history",
      imageOf([layer], { config: { history: [{}, {}] } }),
      "warning history config: history speaks of 2",
    ],
    ...[
      [{ config: [] }, "config must be an object"],
      [{ config: { Env: [1, 2] } }, "config.Env[0] must be a string; found 1"],
      [{ config: { Cmd: "sh" } }, "config.Cmd must be"],
      [{ config: { Labels: { a: 1 } } }, 'config.Labels["a"] must be a string; found 1'],
      [{ history: [1] }, "history[0] must be an object"],
      [{ history: {} }, "history must be an array"],
      [{ history: [{ created: "yesterday" }] }, "history[0].created must be a time"],
      [{ history: [{ empty_layer: "no" }] }, "history[0].empty_layer must be true or false"],
      [{ created: "garbage" }, "created must be a time"],
      [{ created: "2026-02-30T00:00:00Z" }, "created must be a time"],
      [{ created: "2026-01-01T24:00:00Z" }, "created must be a time"],
      [{ created: "2026-01-01T00:00:00+24:00" }, "created must be a time"],
      [{ author: 1 }, "author must be a string"],
    ].map(
      ([config, message]) =>
        [
          `what Go programs refuse: ${JSON.stringify(config)}`,
          imageOf([layer], { config: config as object }),
          `error config config: ${message}`,
        ] as const,
    ),
    [
      "annotations that are no texts",
      imageOf([layer], { manifest: { annotations: { a: 1 } } }),
      "error manifest manifest: annotations must be",
    ],
    [
      "a byte order mark",
      { ...imageOf([layer]), manifest: undefined, config: documentOf("x", "\ufeff{}") },
      "error json config: config is not valid JSON",
    ],
    ["126 layers", imageOf(many(126)), "error layer-count config: there are 126 layers, more than 125"],
    ["101 layers", imageOf(many(101)), "note layer-count config: there are 101 layers; Docker takes 125"],
    [
      "a config that is no JSON",
      { ...imageOf([layer]), manifest: undefined, config: documentOf("x", "{") },
      "error json config: config is not valid JSON",
    ],
    [
      "another digest",
      {
        ...imageOf([layer]),
        manifest: undefined,
        config: { ...documentOf("x", "{} "), bytes: imageOf([layer]).config.bytes },
      },
      "error digest config: its digest is sha256:",
    ],
  ])("that are wrong are found: %s", async (_, image, expected) => {
    const found = await findingsOf(image);
    expect(found[0]?.slice(0, expected.length)).toBe(expected);
  });

  it("may have histories with entries for no layer, 100 layers and 125", async () => {
    const history = [{ empty_layer: true }, {}];
    expect(await findingsOf(imageOf([layer], { config: { history } }))).toEqual([]);
    expect(await findingsOf(imageOf(many(100)))).toEqual([]);
    expect((await validate(imageOf(many(125)))).valid).toBe(true);
  });
});
