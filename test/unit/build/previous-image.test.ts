import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  buildPlannedImage,
  copyImages,
  type ImageSpec,
  openSource,
  openTarget,
  type PreviousLayoutOptions,
  parseCompression,
  parseTransport,
  planAllLayers,
  planImage,
  readPreviousLayout,
  readSpecClosure,
  readSpecPrevious,
  storePathsOf,
} from "../../../dist/index.js";
import { runCli } from "../../support/cli.js";
import { expectOk } from "../../support/command.js";
import { conf, hexSha256, makeCustomisation, packImage, packTar } from "../../support/confs.js";
import { copySampleStore, type SampleStore } from "../../support/sample-store.js";

const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";
const MESSAGE = "/nix/store/k1y29i1qr6ipr6cjcbvhj505lfr3c0r4-greeting-message-1.0";

let directory: string;
let store: SampleStore;
let planned: readonly (readonly string[])[];
const at = (name: string) => join(directory, name);

const specOf = (more: Partial<ImageSpec> = {}): ImageSpec => ({
  closure: { graph: store.closureFile, storeRoot: store.storeRoot },
  name: "app",
  maxLayers: 4,
  ...more,
});

async function build(place: string, more: Partial<ImageSpec> = {}): Promise<void> {
  await buildPlannedImage(await planImage(specOf(more)), [await openTarget(parseTransport(place))]);
}

const read = async (place: string, options?: PreviousLayoutOptions) =>
  (await readPreviousLayout(place, options)).layers.map(({ storePaths }) => storePaths);

/** The manifest of the one image in a layout. */
function manifestOf(layout: string) {
  const blob = (digest: string) => readFileSync(join(layout, "blobs", digest.replace(":", "/")), "utf8");
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
  return JSON.parse(blob(index.manifests[0].digest)) as {
    readonly layers: readonly {
      readonly mediaType: string;
      readonly size: number;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  };
}

/** A docker-archive, of somebody else's, of an image with this history. */
async function archiveWith(history: unknown, layers = 1): Promise<string> {
  const tars = await Promise.all(Array.from({ length: layers }, (_, i) => packTar([[`file-${i}`, "x"]])));
  const config = {
    ...{ architecture: "amd64", os: "linux", history },
    rootfs: { type: "layers", diff_ids: tars.map((tar) => `sha256:${hexSha256(tar)}`) },
  };
  const file = at(`history-${hexSha256(JSON.stringify(config))}.tar`);
  const names = tars.map((_, i) => `${i}.tar`);
  const archive = await packTar([
    ...tars.map((tar, i) => [names[i] as string, tar] as const),
    ["config.json", JSON.stringify(config)],
    ["manifest.json", JSON.stringify([{ Config: "config.json", RepoTags: null, Layers: names }])],
  ]);
  writeFileSync(file, archive);
  return file;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-previous-"));
  store = copySampleStore(directory);
  const spec = specOf();
  planned = planAllLayers(spec, await readSpecClosure(spec)).map((plan) => storePathsOf(plan).sort());
  expect(planned).toHaveLength(4);
  await build(`oci:${at("layout")}:1`);
  await build(`oci-archive:${at("oci.tar")}:1`);
  await build(`docker-archive:${at("docker.tar")}`);
  const { stdout } = expectOk(
    await runCli(["stream", store.closureFile, "--store-root", store.storeRoot, "--max-layers", "4", "--name", "app"]),
    "stream",
  );
  writeFileSync(at("stream.tar"), stdout);
  writeFileSync(at("stream.tar.gz"), gzipSync(stdout));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the layout of a previous image", () => {
  it.each([
    ["an OCI layout", "oci:$/layout:1"],
    ["an OCI layout by its bare name", "$/layout"],
    ["an OCI archive", "oci-archive:$/oci.tar:1"],
    ["an OCI archive by its bare name", "$/oci.tar"],
    ["a docker-archive and OCI layout in one", "docker-archive:$/docker.tar:app:latest"],
    ["a docker-archive that was streamed", "docker-archive:$/stream.tar"],
    ["a compressed docker-archive by its bare name", "$/stream.tar.gz"],
  ])("is that of the plan: %s", async (_, place) => {
    const layout = await readPreviousLayout(place.replace("$", directory));
    expect(layout.layers.map(({ storePaths }) => storePaths)).toEqual(planned);
    const { layers } = manifestOf(at("layout"));
    expect(layout.layers.map(({ size }) => size)).toEqual(layers.map(({ size }) => size));
  });

  it("is read from annotations alone, and from the history alone", async () => {
    const layers = manifestOf(at("layout")).layers.map(({ annotations }) => annotations?.["dev.oci-nix.store-paths"]);
    expect(layers).toEqual(planned.map((paths) => paths.map((path) => path.slice("/nix/store/".length)).join(" ")));
    const strange = [{ created_by: "a", comment: "b" }];
    await build(`oci:${at("explicit")}:1`, {
      layers: [{ deps: [GREETING], history: { comment: "base" } }],
    });
    expect((await read(`oci:${at("explicit")}:1`))[0]).toContain(GREETING);
    expect(await read(await archiveWith([{ comment: `store paths: ['${GREETING}']` }]))).toEqual([[GREETING]]);
    await expect(read(await archiveWith(strange))).rejects.toMatchObject({ code: "invalid-input" });
  });

  it("reads nothing of the layers of an OCI layout but how they are packed", async () => {
    cpSync(at("layout"), at("damaged"), { recursive: true });
    const { layers } = manifestOf(at("damaged")) as unknown as { layers: { digest: string; size: number }[] };
    for (const { digest, size } of layers) {
      writeFileSync(join(at("damaged"), "blobs", digest.replace(":", "/")), Buffer.alloc(size, "x"));
    }
    expect(await read(at("damaged"))).toEqual(planned);
  });

  it("leaves out what is moved, has other permissions or is generated", async () => {
    const changed = {
      layers: [{ deps: [MESSAGE], perms: [{ path: MESSAGE, regex: ".", mode: 0o777 }] }],
      copyToRoot: [GREETING],
      nixDatabase: {},
      maxLayers: 8,
    };
    const spec = specOf(changed);
    const plans = planAllLayers(spec, await readSpecClosure(spec));
    const staying = plans.filter(
      ({ contents, generated }) =>
        generated === undefined && contents.every((each) => !("rewrite" in each) && !("permissions" in each)),
    );
    const expected = staying.map((plan) => storePathsOf(plan).sort());
    expect(expected.length).toBeLessThan(plans.length - 2);
    await build(`oci:${at("changed")}:1`, changed);
    expect(await read(at("changed"))).toEqual(expected);
    await build(`docker-archive:${at("changed.tar")}`, changed);
    const source = await openSource(parseTransport(`docker-archive:${at("changed.tar")}`));
    const comments = JSON.parse(Buffer.from(source.images[0]?.config.bytes ?? []).toString()).history;
    source.close();
    expect(await read(await archiveWith(comments, comments.length))).toEqual(expected);
  });

  it("is empty where the whole image is moved, so that the next release is planned all the same", async () => {
    await build(`oci:${at("moved")}:1`, {
      closure: { ...specOf().closure, roots: [MESSAGE] },
      copyToRoot: [MESSAGE],
      maxLayers: 1,
    });
    expect(await read(at("moved"))).toEqual([]);
  });

  it("is that of another store directory", async () => {
    const storeRoot = at("gnu");
    cpSync(join(store.storeRoot, "nix"), join(storeRoot, "gnu"), { recursive: true, verbatimSymlinks: true });
    const graph = at("gnu.json");
    writeFileSync(graph, readFileSync(store.closureFile, "utf8").replaceAll("/nix/store/", "/gnu/store/"));
    await build(`oci:${at("gnu-layout")}:1`, { closure: { graph, storeRoot } });
    const gnu = planned.map((paths) => paths.map((path) => path.replace("/nix/", "/gnu/")));
    expect((await read(at("gnu-layout"))).flat().sort()).toEqual(gnu.flat().sort());
    expect(manifestOf(at("gnu-layout")).layers[0]?.annotations).toMatchObject({
      "dev.oci-nix.store-dir": "/gnu/store",
    });
  });

  it("is that of a dockerTools image without its base and its customisation layer", async () => {
    await makeCustomisation(store.storeRoot);
    const base = "/nix/store/11111111111111111111111111111111-base.tar";
    writeFileSync(
      join(store.storeRoot, base),
      await packImage([{ name: "0/layer.tar", tar: await packTar([["x", "y"]]) }]),
    );
    writeFileSync(at("conf.json"), JSON.stringify(conf({ store_layers: [[MESSAGE], [GREETING]], from_image: base })));
    const { stdout } = expectOk(await runCli(["stream", at("conf.json"), "--store-root", store.storeRoot]), "stream");
    writeFileSync(at("dockertools.tar"), stdout);
    expect(await read(at("dockertools.tar"))).toEqual([[MESSAGE], [GREETING]]);
    await expect(read(at("conf.json"))).rejects.toMatchObject({ code: "invalid-input", message: /describes an image/ });
  });

  it("is that of nix2container's image file, also through a link", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    const layer = (paths: readonly unknown[], size: number) => ({
      ...{ digest, diff_ids: digest, size, paths },
      mediatype: "application/vnd.oci.image.layer.v1.tar",
    });
    const rewrite = { regex: "^x", repl: "" };
    const layers = [
      layer([{ path: MESSAGE }], 10),
      layer([], 20),
      layer([{ path: "/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-moved", options: { rewrite, perms: [] } }], 30),
      layer([{ path: GREETING, options: { rewrite: { regex: "", repl: "" } } }], 0),
    ];
    writeFileSync(at("image.json"), JSON.stringify({ version: 1, "image-config": {}, layers, arch: "amd64" }));
    symlinkSync("image.json", at("result"));
    for (const name of ["image.json", "result"]) {
      expect(await readPreviousLayout(at(name))).toEqual({
        source: at(name),
        layers: [
          { storePaths: [MESSAGE], size: 10 },
          { storePaths: [GREETING], size: undefined },
        ],
      });
    }
  });

  it("passes over history entries of no layer, and takes none where there are more or fewer than layers", async () => {
    const comment = (path: string) => ({ comment: `store paths: ['${path}']` });
    const empty = { created_by: "ENV A=1", comment: "store paths: ['x']", empty_layer: true };
    expect(await read(await archiveWith([empty, comment(MESSAGE), empty, comment(GREETING)], 2))).toEqual([
      [MESSAGE],
      [GREETING],
    ]);
    for (const history of [[comment(MESSAGE)], Array(3).fill(comment(MESSAGE)), "text", null, [1, null], undefined]) {
      await expect(read(await archiveWith(history, 2))).rejects.toMatchObject({
        code: "invalid-input",
        message: /^the previous image: docker-archive:.* does not say which store paths its layers hold$/,
        hint: /nix2container/,
      });
    }
  });

  it("is that of the platform asked for", async () => {
    const layout = at("platforms");
    await build(`oci:${layout}:amd64`, { maxLayers: 2 });
    await build(`oci:${layout}:arm64`, { architecture: "arm64", maxLayers: 3 });
    expect(await read(layout)).toHaveLength(2);
    expect(await read(layout, { architecture: "arm64" })).toHaveLength(3);
    await expect(read(layout, { architecture: "riscv64" })).rejects.toMatchObject({
      code: "not-found",
      message: /is not there for linux\/riscv64$/,
    });
  });

  it.each([
    ["a file that is missing", "$/none.tar", "not-found", /is not there/],
    ["an archive that is missing", "docker-archive:$/none.tar", "not-found", /is not there/],
    ["a layout that is missing", "oci:$/none:1", "not-found", /is not there/],
    ["a tag that is missing", "oci:$/layout:2", "not-found", /has no image "2"/],
    ["a directory that is no layout", "$", "invalid-input", /no OCI layout/],
    ["a name without a transport", "registry.example/app:1", "usage", /names no place of images/],
    ["an unknown transport", "dokcer://registry.example/app:1", "usage", /names no transport/],
    ["podman's storage", "containers-storage:app", "unsupported", /are not read/],
    ["a file that is no archive", "$/gnu.json", "invalid-input", /./],
    ["several images", "$/several", "usage", /holds 2 images: 1, 2/],
  ])("is no layout: %s", async (_, place, code, message) => {
    await build(`oci:${at("several")}:1`);
    await build(`oci:${at("several")}:2`, { maxLayers: 2 });
    writeFileSync(at("gnu.json"), "[]");
    await expect(read(place.replace("$", directory))).rejects.toMatchObject({ code, message });
  });

  it("is an error where a program is missing to read it, and not a release without a previous one", async () => {
    const xz = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4]);
    writeFileSync(at("image.tar.xz"), Buffer.concat([xz, Buffer.alloc(600)]));
    const { PATH } = process.env;
    process.env.PATH = at("nothing");
    try {
      await expect(readSpecPrevious(specOf({ previous: at("image.tar.xz") }))).rejects.toMatchObject({
        code: "unreadable",
        message: /xz is not on the PATH/,
      });
    } finally {
      process.env.PATH = PATH;
    }
  });
});

describe("a spec's previous image", () => {
  it("is told, or that it is not there", async () => {
    const told: unknown[] = [];
    const observer = {
      onFollowed: ({ source }: { readonly source: string }) => void told.push(source),
      onMissing: (message: string) => void told.push(message),
    };
    const previous = `oci:${at("layout")}:1`;
    const layout = await readSpecPrevious(specOf({ previous }), observer);
    expect(layout).toEqual(await readPreviousLayout(previous));
    expect(await readSpecPrevious(specOf({ previous: at("none") }), observer)).toBeUndefined();
    expect(await readSpecPrevious(specOf(), observer)).toBeUndefined();
    expect(told).toEqual([previous, `the previous image: ${at("none")} is not there; planned afresh`]);
  });
});

describe("copying", () => {
  const copy = async (from: string, to: string, compression?: string) => {
    const source = await openSource(parseTransport(from));
    try {
      const packed = compression === undefined ? {} : { compression: parseCompression(compression, "test") };
      await copyImages(source.images, [await openTarget(parseTransport(to))], packed);
    } finally {
      source.close();
    }
  };

  it.each([undefined, "gzip:1", "zstd:1", "none"])(
    "keeps what the layers hold, with compression %j",
    async (compression) => {
      const to = at(`copied-${compression?.split(":")[0]}`);
      await copy(`oci:${at("layout")}:1`, `oci:${to}:1`, compression);
      expect(await read(to)).toEqual(planned);
      const annotations = manifestOf(to).layers.map((layer) => layer.annotations);
      expect(annotations.every((each) => each !== undefined && "dev.oci-nix.store-paths" in each)).toBe(true);
    },
  );

  it("carries nothing over to layers that are packed anew but what the layers hold", async () => {
    await copy(`oci:${at("layout")}:1`, `oci:${at("gzip")}:1`, "gzip:1");
    await copy(`oci:${at("gzip")}:1`, `oci:${at("plain")}:1`, "none");
    const keys = manifestOf(at("plain")).layers.flatMap(({ annotations = {} }) => Object.keys(annotations));
    expect(new Set(keys)).toEqual(new Set(["dev.oci-nix.store-paths"]));
    expect(manifestOf(at("plain"))).toEqual(manifestOf(at("layout")));
  });
});

describe("the command line", () => {
  const run = async (args: readonly string[], cwd = directory) =>
    await runCli([...args, "--store-root", store.storeRoot], { cwd });

  it.each([["plan"], ["build", "--to", "oci:out:1"]])(
    "says what %s follows, when asked, and that there was nothing",
    async (...command) => {
      mkdirSync(at("run"), { recursive: true });
      const args = (previous: string) => [...command, store.closureFile, "--previous", previous];
      const followed = expectOk(await run([...args("oci:../layout:1"), "--verbose"], at("run")), "followed");
      expect(followed.stderr).toMatch(/^follows oci:\.\.\/layout:1: 5 store paths in 4 layers$/m);
      expect(expectOk(await run(args("oci:../layout:1"), at("run")), "quiet").stderr).not.toMatch(/follows/);
      const first = expectOk(await run(args("../none"), at("run")), "first");
      expect(first.stderr).toMatch(/^note: the previous image: \.\.\/none is not there; planned afresh$/m);
      for (const flag of ["--quiet", "--json"]) {
        expect(expectOk(await run([...args("../none"), flag], at("run")), "silent").stderr).not.toMatch(/note/);
      }
      const wrong = await run(args("dokcer://r/app"), at("run"));
      expect([wrong.status, wrong.stdout.length]).toEqual([2, 0]);
    },
  );

  it("finds what a spec file names beside the file", async () => {
    mkdirSync(at("specs"), { recursive: true });
    for (const previous of ["../layout", "oci:../layout:1", "docker-archive:../docker.tar:app:latest"]) {
      writeFileSync(at("specs/spec.json"), JSON.stringify({ closure: { graph: store.closureFile }, previous }));
      const { stderr } = expectOk(await run(["plan", at("specs/spec.json"), "--verbose"]), "plan");
      expect(stderr).toMatch(/: 5 store paths in 4 layers/);
    }
    const { stderr } = expectOk(await run(["plan", "specs/spec.json", "--previous", "layout", "--verbose"]), "plan");
    expect(stderr).toMatch(/^follows oci:layout: 5/m);
  });

  it.each([["dockertools", { store_layers: [] }]])(
    "refuses it with a conf.json, which decides the layers: %s",
    async (_, more) => {
      await makeCustomisation(store.storeRoot);
      writeFileSync(at("decided.json"), JSON.stringify(conf(more)));
      const { status, stderr } = await run(["stream", at("decided.json"), "--previous", "layout"]);
      expect([status, stderr]).toEqual([2, expect.stringMatching(/--previous cannot be combined/)]);
    },
  );
});
