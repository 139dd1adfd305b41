import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChangedImage, writeArchive, writeFiles } from "../support/changed-image.js";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { hexSha256 } from "../support/confs.js";
import { startHttpServer } from "../support/http-server.js";
import { copySampleStore } from "../support/sample-store.js";

const LAYERS = 5;
const OTHER = `sha256:${"a".repeat(64)}`;

let directory: string;
let input: readonly string[];
let count = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-verify-damaged-"));
  const store = copySampleStore(directory);
  input = [store.closureFile, "--store-root", store.storeRoot];
  for (const compression of ["none", "gzip", "zstd"]) {
    const flags = ["--compression", compression, "--no-cache", "--to", `oci:${join(directory, compression)}:1`];
    expectOk(await runCli(["build", ...input, ...flags]), "build");
  }
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Compression = "none" | "gzip" | "zstd";
const PLACES = ["oci", "oci-archive", "docker-archive", "saved", "-", "docker"] as const;
/** `saved`: an archive as Docker saves it. `docker`: a registry. */
type Place = (typeof PLACES)[number];
/** One of each kind. */
const KINDS: readonly Place[] = ["oci", "docker-archive", "docker"];
/** Those where a manifest describes the layers. */
const DESCRIBED: readonly Place[] = ["oci", "docker"];

const imageOf = (compression: Compression, change: (image: ChangedImage) => void): ChangedImage => {
  const image = new ChangedImage(join(directory, compression), "1");
  change(image);
  return image;
};

async function verifyAt(
  place: Place,
  image: ChangedImage,
  flags: readonly string[] = [],
  after: (files: Map<string, Buffer>) => void = () => undefined,
): Promise<CommandResult> {
  const path = join(directory, `changed-${count++}`);
  const run = (name: string, options = {}) => runCli(["verify", name, ...input, ...flags], options);
  if (place === "docker") {
    const server = await startHttpServer(image.registry());
    try {
      return await run(`docker://${server.host}/app:1`);
    } finally {
      await server.stop();
    }
  }
  const files =
    place === "saved"
      ? image.savedFiles()
      : place === "oci" || place === "oci-archive"
        ? image.layoutFiles()
        : image.dockerFiles();
  after(files);
  if (place === "oci") return await run(`oci:${writeFiles(files, path)}:1`);
  const file = await writeArchive(files, path);
  if (place === "-") return await run("-", { stdin: { file } });
  return await run(`${place === "saved" ? "docker-archive" : place}:${file}`);
}

interface Report {
  readonly verified: boolean;
  readonly problems: readonly string[];
  readonly layers: readonly { readonly status: string; readonly problem: string | null; readonly diffId: string }[];
  readonly files: { readonly removed: readonly unknown[] } | null;
  readonly filesProblem: string | null;
}

/** The report of an image that is not what the input gives. */
async function reportAt(
  place: Place,
  image: ChangedImage,
  flags: readonly string[] = [],
  after?: (files: Map<string, Buffer>) => void,
): Promise<Report> {
  const result = await verifyAt(place, image, [...flags, "--json"], after);
  expect([place, result.status, String(result.stderr)]).toEqual([place, 3, ""]);
  const report = JSON.parse(String(result.stdout)) as Report;
  expect(report.verified).toBe(false);
  return report;
}

const statusesWith = (status: string) => Array.from({ length: LAYERS }, (_, i) => (i === 1 ? status : "same"));
const half = (image: ChangedImage) => image.damage(1, image.layer(1).subarray(0, image.layer(1).length >> 1));

/** A second layer with other bytes, of which manifest and config know. */
function replaced(image: ChangedImage, bytes: Buffer): void {
  image.replace(1, bytes);
  image.config.rootfs.diff_ids[1] = `sha256:${hexSha256(bytes)}`;
}

describe("verify of an image with one bad layer", { timeout: 60_000 }, () => {
  interface Case {
    readonly of: Compression;
    readonly change: (image: ChangedImage) => void;
    readonly at?: readonly Place[];
    readonly status: string;
    readonly problem: RegExp;
    /** Whether what is in it can be compared. */
    readonly readable?: boolean;
  }
  const cases: readonly (readonly [string, Case])[] = [
    ["is cut", { of: "gzip", change: half, at: PLACES, status: "damaged", problem: /304 bytes.* 608|cut off gzip/ }],
    [
      "is plain, and cut",
      { of: "none", change: half, status: "damaged", problem: /3072 bytes.* 6144|image config says/ },
    ],
    [
      "is missing",
      {
        of: "gzip",
        change: (image) => image.damage(1, undefined),
        at: PLACES,
        status: "unreadable",
        problem: /holds no file "|answered 404/,
      },
    ],
    [
      "is of a media type that is not read",
      {
        of: "gzip",
        change: ({ manifest }) => {
          (manifest.layers[1] as { mediaType: string }).mediaType += "+encrypted";
        },
        at: DESCRIBED,
        status: "unreadable",
        problem: /layers of the type .*\+encrypted are not read/,
      },
    ],
    [
      "is plain, under a diffID that it does not have",
      {
        of: "none",
        change: ({ config }) => {
          config.rootfs.diff_ids[1] = OTHER;
        },
        status: "damaged",
        problem: new RegExp(`the image config says ${OTHER}`),
        readable: true,
      },
    ],
    [
      "is packed, under a diffID that it does not have",
      {
        of: "zstd",
        change: ({ config }) => {
          config.rootfs.diff_ids[1] = OTHER;
        },
        status: "damaged",
        problem: new RegExp(`the image config says ${OTHER}`),
        readable: true,
      },
    ],
    [
      "is cut under a digest of its own",
      {
        of: "zstd",
        change: (image) => image.replace(1, image.layer(1).subarray(0, -20)),
        status: "damaged",
        problem: /cut off zstd data/,
      },
    ],
    [
      "has something behind its last gzip member",
      {
        of: "gzip",
        change: (image) => image.replace(1, Buffer.concat([image.layer(1), Buffer.from("garbage")])),
        status: "damaged",
        problem: /damaged or cut off gzip data/,
      },
    ],
    [
      "is said to be longer than it is",
      {
        of: "gzip",
        change: ({ manifest }) => {
          (manifest.layers[1] as { size: number }).size++;
        },
        at: DESCRIBED,
        status: "damaged",
        problem: /608 bytes.* 609/,
        readable: true,
      },
    ],
    [
      "is said to be shorter than it is",
      {
        of: "gzip",
        change: ({ manifest }) => {
          (manifest.layers[1] as { size: number }).size--;
        },
        at: ["docker"],
        status: "damaged",
        problem: /is longer, its descriptor says 607/,
      },
    ],
    [
      "is packed otherwise than its media type says",
      {
        of: "gzip",
        change: ({ manifest }) => {
          (manifest.layers[1] as { mediaType: string }).mediaType = "application/vnd.oci.image.layer.v1.tar";
        },
        at: DESCRIBED,
        status: "damaged",
        problem: /is packed by gzip, its media type says none|an unpacked layer is/,
        readable: true,
      },
    ],
  ];

  it.each(cases)("tells of a layer that %s, and of the others", async (_, one) => {
    const { of, change, at = KINDS, status, problem, readable = false } = one;
    for (const place of at) {
      const { layers, files, filesProblem } = await reportAt(place, imageOf(of, change));
      expect([place, ...layers.map((layer) => layer.status)]).toEqual([place, ...statusesWith(status)]);
      expect(layers[1]?.problem).toMatch(problem);
      expect(filesProblem).toBe(readable ? null : "layer 2 of the image cannot be read");
      expect(files?.removed).toEqual(readable ? [] : undefined);
    }
  });

  it("tells of a layer that is empty, wherever it is", async () => {
    for (const compression of ["gzip", "zstd"] as const) {
      const empty = imageOf(compression, (image) => image.damage(1, Buffer.alloc(0)));
      for (const place of PLACES) {
        const { layers, files } = await reportAt(place, empty);
        expect([place, ...layers.map(({ status }) => status)]).toEqual([place, ...statusesWith("damaged")]);
        expect(layers[1]?.problem).toMatch(
          / is 0 bytes long, | has 0 bytes, its descriptor says \d+ bytes| is sha256:e3b0c442/,
        );
        expect(files?.removed).not.toEqual([]);
      }
    }
  });

  it("tells of a layer that an archive holds twice, and not the same", async () => {
    for (const place of ["oci-archive", "docker-archive", "saved"] as const) {
      const { layers } = await reportAt(
        place,
        imageOf("gzip", () => undefined),
        [],
        (files) => {
          const name = [...files.keys()].filter(
            (key) => /layer.tar|blobs/.test(key) && files.get(key)?.[0] === 0x1f,
          )[1];
          files.set(`./${name}`, Buffer.from("other"));
        },
      );
      expect([place, ...layers.map(({ status }) => status)]).toEqual([place, ...statusesWith("damaged")]);
      expect(layers[1]?.problem).toMatch(/ twice: programs differ in which they read$/);
    }
  });

  it("prints the problem, and why files are not compared", async () => {
    const { stdout } = await verifyAt(
      "docker-archive",
      imageOf("gzip", (image) => image.damage(1, undefined)),
    );
    const lines = String(stdout).split("\n");
    expect(lines[0]).toMatch(/^layer {3}! 2: .* holds no file "1\/layer\.tar"$/);
    expect(lines.slice(1)).toEqual([
      "layer   = 4 layers are the same",
      "files are not compared: layer 2 of the image cannot be read",
      "the image is not what the input gives",
      "",
    ]);
  });

  it("tells without reading of what is not there, or contradicts itself", async () => {
    const missing = imageOf("gzip", (image) => image.damage(1, undefined));
    expect((await reportAt("oci", missing, ["--no-read"])).layers[1]?.status).toBe("unreadable");
    const lying = imageOf("none", ({ config }) => {
      config.rootfs.diff_ids[1] = OTHER;
    });
    expect((await reportAt("docker", lying, ["--no-read"])).layers[1]?.status).toBe("damaged");
    // What a registry lacks shows only when it is asked for it.
    expectOk(await verifyAt("docker", missing, ["--no-read"]), "verify");
  });
});

describe("verify of an image that is another one", { timeout: 60_000 }, () => {
  it("tells of layers that are there twice, in another order or empty", async () => {
    const twice = imageOf("gzip", ({ manifest, config }) => {
      manifest.layers.push(manifest.layers[4] as never);
      config.rootfs.diff_ids.push(config.rootfs.diff_ids[4]);
    });
    const swapped = imageOf("gzip", ({ manifest, config }) => {
      for (const list of [manifest.layers, config.rootfs.diff_ids]) list.splice(1, 2, list[2], list[1]);
    });
    const empty = imageOf("none", (image) => replaced(image, Buffer.alloc(0)));
    for (const place of KINDS) {
      const statusesOf = async (image: ChangedImage) =>
        (await reportAt(place, image)).layers.map(({ status }) => status);
      expect(await statusesOf(twice)).toEqual([...statusesWith("same"), "unexpected"]);
      expect((await statusesOf(swapped)).sort()).toEqual(["moved", "same", "same", "same", "same"]);
      expect(await statusesOf(empty)).toEqual(statusesWith("different"));
    }
  });

  it("says where there is something behind the end of an archive", async () => {
    const image = imageOf("none", (one) => replaced(one, Buffer.concat([one.layer(1), Buffer.from("tail")])));
    const { status, stdout } = await verifyAt("oci", image);
    expect(status).toBe(3);
    expect(String(stdout)).toContain(
      "layer   ~ 2: the archives differ from byte 6144 on, after the last entry: there is something else behind the end",
    );
    expect(String(stdout)).not.toMatch(/null|says the same in other bytes/);
  });

  it("takes layers that are not to be distributed as what they are", async () => {
    const foreign = imageOf("gzip", ({ manifest }) => {
      const mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
      Object.assign(manifest.layers[1] as object, { mediaType, urls: ["https://example.org/layer"] });
    });
    expectOk(await verifyAt("oci", foreign), "verify");
    expect((await verifyAt("oci", foreign, ["--exact"])).status).toBe(3);
  });

  it("says with --exact which layers are not compressed, though they are to be, and of which it is not known", async () => {
    const plain = await verifyAt(
      "docker-archive",
      imageOf("none", () => undefined),
      ["--exact", "--compression", "gzip"],
    );
    expect(plain.status).toBe(3);
    expect(String(plain.stdout)).toMatch(/^layer {3}~ 5: sha256:[0-9a-f]{64}, not compressed, though it is to be$/m);
    const unread = await verifyAt(
      "docker-archive",
      imageOf("gzip", () => undefined),
      ["--exact", "--no-read"],
    );
    expect(String(unread.stdout)).toMatch(/, packed in an unknown way, as it was not read$/m);
  });
});

describe("verify of an image whose documents say what is not so", { timeout: 60_000 }, () => {
  it.each([
    ["fewer", (ids: string[]) => void ids.pop(), /5 layers, .* has 4 diff_ids$/, LAYERS - 1],
    ["more", (ids: string[]) => void ids.push(OTHER), /5 layers, .* has 6 diff_ids$/, LAYERS],
  ])("compares what has a layer and a diffID where there are %s diffIDs", async (_, change, problem, layers) => {
    for (const place of KINDS) {
      const report = await reportAt(
        place,
        imageOf("gzip", ({ config }) => change(config.rootfs.diff_ids)),
      );
      expect(report.problems).toEqual([expect.stringMatching(problem)]);
      expect(report.layers.map(({ status }) => status)).toEqual(Array(layers).fill("same"));
    }
  });

  it("compares a manifest and a config that are not those of their digests", async () => {
    const sound = imageOf("gzip", () => undefined);
    const change = (what: string, by: (text: string) => string) => (files: Map<string, Buffer>) => {
      for (const [name, bytes] of files) {
        if (!/index|^manifest/.test(name) && bytes.includes(what)) files.set(name, Buffer.from(by(String(bytes))));
      }
    };
    const changeConfig = change('"rootfs"', (text) => text.replace("amd64", "arm64"));
    for (const place of ["oci", "docker-archive"] as const) {
      const report = await reportAt(place, sound, [], changeConfig);
      expect(report.problems).toEqual([expect.stringMatching(/ is sha256:[0-9a-f]{64}$/)]);
      expect(report).toMatchObject({ config: [{ field: "architecture", before: "amd64", after: "arm64" }] });
    }
    const changeManifest = change('"layers":[', (text) => `${text} `);
    const report = await reportAt("oci", sound, ["--exact"], changeManifest);
    expect(report.problems).toEqual([expect.stringMatching(/the manifest, is \d+ bytes long, not \d+$/)]);
    expect(report.layers.map(({ status }) => status)).toEqual(statusesWith("same"));
  });

  it("says where the index is for another platform than the config", async () => {
    const on = (architecture: string) =>
      imageOf("gzip", ({ inIndex }) => {
        inIndex.platform = { os: "linux", architecture };
      });
    for (const place of ["oci", "oci-archive"] as const) {
      const { problems, layers } = await reportAt(place, on("arm64"));
      expect(problems).toEqual([expect.stringMatching(/is for linux\/arm64, its config says linux\/amd64$/)]);
      expect(layers.map(({ status }) => status)).toEqual(statusesWith("same"));
      expectOk(await verifyAt(place, on("amd64"), ["--exact"]), "verify");
    }
  });

  it.each([
    ["is cut", (bytes: Buffer) => bytes.subarray(0, -9)],
    ["is too long", (bytes: Buffer) => Buffer.concat([bytes, bytes])],
    ["is empty", () => Buffer.alloc(0)],
    ["is another document", () => Buffer.from("[]")],
  ])("says that a config is not the one of its digest where it %s", async (_, damage) => {
    const image = imageOf("gzip", (one) => {
      one.damageConfig = damage;
    });
    for (const place of PLACES) {
      const { status, stdout, stderr } = await verifyAt(place, image);
      expect([place, status, String(stdout)]).toEqual([place, 3, ""]);
      expect(String(stderr)).toMatch(/^error: .* is (\d+ bytes long, not \d+|sha256:[0-9a-f]{64})\n/);
    }
  });

  it("fails where there is no config, and says so", async () => {
    const sound = imageOf("gzip", () => undefined);
    const without = (files: Map<string, Buffer>) => {
      for (const [name, bytes] of files) if (bytes.includes('"rootfs"')) files.delete(name);
    };
    for (const place of ["oci", "oci-archive", "docker-archive", "-"] as const) {
      const { status, stdout, stderr } = await verifyAt(place, sound, [], without);
      expect([place, status, String(stdout)]).toEqual([place, 1, ""]);
      expect(String(stderr)).toMatch(/^error: the image config cannot be read: .* holds no file "/);
    }
  });

  it("says that a registry's index has two images for one platform", async () => {
    const entries = ["1", "2"].map((A) => {
      const image = imageOf("gzip", ({ config, inIndex }) => {
        config.config.A = A;
        inIndex.platform = { os: "linux", architecture: "amd64" };
      });
      return JSON.parse(String(image.layoutFiles().get("index.json"))).manifests[0];
    });
    const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: entries };
    const server = await startHttpServer(() => ({
      headers: { "content-type": index.mediaType },
      body: JSON.stringify(index),
    }));
    try {
      const { status, stderr } = await runCli(["verify", `docker://${server.host}/app:1`, ...input]);
      expect(status).toBe(2);
      expect(String(stderr)).toContain(
        `it names 2 images for linux/amd64: ${entries[0]?.digest}, ${entries[1]?.digest}\n`,
      );
      expect(String(stderr)).toContain("hint: name one by its digest: docker://NAME@sha256:");
    } finally {
      await server.stop();
    }
  });

  it("names the images there are where the one that is wanted is not there", async () => {
    const result = await runCli(["verify", `oci:${join(directory, "gzip")}:nope`, ...input]);
    expect(result.status).toBe(1);
    expect(String(result.stderr)).toContain('/gzip has no image "nope": its images are called 1\n');
  });
});
