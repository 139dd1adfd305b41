import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ImageSpec,
  planAllLayers,
  readClosure,
  readPreviousLayout,
  readSpecClosure,
  storePathsOf,
} from "../../dist/index.js";
import { type AppStore, makeAppStore } from "../support/app-store.js";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { conf, makeCustomisation } from "../support/confs.js";
import { type Docker, ENGINE_TOOLS, startDocker, startPodmanService } from "../support/daemons.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 180_000;
const MAX_LAYERS = 6;

let directory: string;
let store: AppStore;
let graph: string;
/** Store paths by layer. */
let planned: readonly (readonly string[])[];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-previous-"));
  if (requireTools("busybox") !== undefined) return;
  store = await makeAppStore(directory, { libraries: 12, librarySize: 20_000 });
  graph = await store.closureOf("1");
  const spec: ImageSpec = { closure: { graph, storeRoot: store.storeRoot }, maxLayers: MAX_LAYERS };
  planned = planAllLayers(spec, await readSpecClosure(spec)).map((plan) => storePathsOf(plan).sort());
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const cli = async (command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const flags = ["--store-root", store.storeRoot, "--max-layers", String(MAX_LAYERS)];
  return await runCli([command, graph, ...args, ...flags], { env });
};
const layersOf = async (place: string) => {
  const layout = await readPreviousLayout(place);
  return layout.layers.map(({ storePaths }) => storePaths);
};

describe.skipIf(requireTools("busybox", "skopeo", ...REGISTRY_TOOLS))("a previous image in a registry", () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  }, LIMIT_MS);
  afterAll(async () => await registry?.stop());

  const at = (name: string) => `docker://${registry.host}/${name}`;
  const push = async (name: string, ...flags: readonly string[]) => await cli("push", [at(name), ...flags]);
  const raw = async (name: string) =>
    JSON.parse(await runOk("skopeo", ["inspect", "--raw", "--tls-verify=false", at(name)])) as {
      readonly mediaType: string;
      readonly config: { readonly digest: string };
      readonly layers: readonly { readonly size: number; readonly annotations?: unknown }[];
    };

  it("is followed by the next release, and is nothing that the first one needs", { timeout: LIMIT_MS }, async () => {
    const first = expectOk(await push("app:1", "--previous", at("app:latest")), "the first");
    expect(first.stderr).toMatch(/^note: the previous image: .*the registry answered 404.*; planned afresh$/m);
    const { layers } = await readPreviousLayout(at("app:1"));
    expect(layers.map(({ storePaths }) => storePaths)).toEqual(planned);
    expect(layers.map(({ size }) => size)).toEqual((await raw("app:1")).layers.map(({ size }) => size));
    const second = expectOk(await push("app:2", "--previous", at("app:1"), "--verbose"), "the second");
    const count = planned.flat().length;
    expect(second.stderr).toContain(`follows ${at("app:1")}: ${count} store paths in ${planned.length} layers`);
  });

  it("is read without a layer's bytes", { timeout: LIMIT_MS }, async () => {
    expectOk(await push("unread:1"), "push");
    const { config } = await raw("unread:1");
    const before = registry.log().length;
    await layersOf(at("unread:1"));
    const log = registry.log().slice(before);
    const asked = log.matchAll(/ http\.request\.uri="?\/v2\/unread\/([\w/:]+)/g);
    expect(new Set([...asked].map(([, what]) => what))).toEqual(new Set(["manifests/1", `blobs/${config.digest}`]));
  });

  it("is the same after other programs copied it", { timeout: LIMIT_MS }, async () => {
    expectOk(await push("original:1"), "push");
    const copy = async (from: string, to: string, ...flags: readonly string[]) =>
      await runOk("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", "-q", ...flags, from, to]);
    const pushed = ["--dest-tls-verify=false"];
    await copy(at("original:1"), at("docker:1"), "--format", "v2s2", ...pushed);
    const { mediaType, layers } = await raw("docker:1");
    expect(mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    expect(layers.every((layer) => layer.annotations === undefined)).toBe(true);
    expect(await layersOf(at("docker:1"))).toEqual(planned);
    await copy(at("docker:1"), at("again:1"), "--format", "oci", ...pushed);
    expect(await layersOf(at("again:1"))).toEqual(planned);
    const layout = join(directory, "copied");
    await copy(at("original:1"), `oci:${layout}:1`);
    expect(await layersOf(`oci:${layout}:1`)).toEqual(planned);
    await copy(at("original:1"), `docker-archive:${layout}.tar:app:1`);
    expect(await layersOf(`${layout}.tar`)).toEqual(planned);
  });

  it("is the same after we copied it, packed anew or not", { timeout: LIMIT_MS }, async () => {
    expectOk(await push("source:1"), "push");
    const layout = join(directory, "layout");
    for (const [from, to, ...flags] of [
      [at("source:1"), `oci:${layout}:1`],
      [`oci:${layout}:1`, at("back:1"), "--compression", "zstd"],
      [at("back:1"), at("kept:1")],
    ] as const) {
      expectOk(await runCli(["copy", from, to, ...flags]), `copy to ${to}`);
      expect(await layersOf(to)).toEqual(planned);
    }
    expect((await raw("kept:1")).layers).toEqual((await raw("back:1")).layers);
  });

  it("is that of nixpkgs' and nix2container's images as well", { timeout: LIMIT_MS }, async () => {
    await makeCustomisation(store.storeRoot);
    const confFile = join(directory, "conf.json");
    writeFileSync(confFile, JSON.stringify(conf({ store_layers: planned })));
    const flags = ["--store-root", store.storeRoot];
    expectOk(await runCli(["push", confFile, at("dockertools:1"), ...flags]), "push a conf.json");
    expect(await layersOf(at("dockertools:1"))).toEqual(planned);
    const [layersFile, configFile, image] = ["layers", "config", "image"].map((name) =>
      join(directory, `${name}.json`),
    );
    writeFileSync(configFile as string, "{}");
    const closure = await readClosure({ graph });
    const json = [...closure.objects.values()].map(({ path, references }) => ({ path, references }));
    const graphFile = join(directory, "graph.json");
    writeFileSync(graphFile, JSON.stringify(json));
    const layers = ["n2c", "layers-from-reproducible-storepaths", layersFile as string, graphFile];
    expectOk(await runCli([...layers, "--max-layers", "3", ...flags]), "n2c layers");
    expectOk(await runCli(["n2c", "image", image as string, configFile as string, layersFile as string]), "n2c image");
    const recorded = JSON.parse(readFileSync(image as string, "utf8")) as {
      readonly layers: readonly { readonly paths: readonly { readonly path: string }[] }[];
    };
    const paths = recorded.layers.map((layer) => layer.paths.map(({ path }) => path).sort());
    expect(paths).toHaveLength(3);
    expect(await layersOf(image as string)).toEqual(paths);
    expectOk(await runCli(["push", image as string, at("nix2container:1"), ...flags]), "push an image file");
    expect(await layersOf(at("nix2container:1"))).toEqual(paths);
  });

  it("is an error where it cannot be reached or says nothing", { timeout: LIMIT_MS }, async () => {
    const unreachable = await cli("plan", ["--previous", "docker://127.0.0.1:1/app:1", "--deadline", "1"]);
    expect([unreachable.status, unreachable.stdout.length]).toEqual([75, 0]);
    expect(unreachable.stderr).toMatch(/^error: the previous image: /);
    const closed = await startRegistry({ isPrivate: true });
    try {
      const env = { HOME: directory, REGISTRY_AUTH_FILE: undefined };
      const args = ["plan", graph, "--store-root", store.storeRoot, "--previous", `docker://${closed.host}/app:1`];
      const denied = await runCli(args, { env });
      expect([denied.status, denied.stdout.length]).toEqual([1, 0]);
      expect(denied.stderr).toMatch(/^error: the previous image: .*401/);
    } finally {
      await closed.stop();
    }
  });
});

describe.skipIf(requireTools("busybox"))("a previous image in a daemon", { timeout: LIMIT_MS }, () => {
  it.each([
    ["Docker's", ENGINE_TOOLS.docker, startDocker],
    ["podman's", ENGINE_TOOLS.podmanService, startPodmanService],
  ] as const)("is told by %s, and not loaded from it", async (_, tools, start) => {
    if (requireTools(...tools) !== undefined) return;
    const docker: Docker = await start();
    const { DOCKER_HOST } = process.env;
    process.env.DOCKER_HOST = docker.host;
    try {
      const env = { DOCKER_HOST: docker.host };
      expectOk(await cli("build", ["--to", "docker-daemon:app:1"], env), "build");
      expect(await readPreviousLayout("docker-daemon:app:1")).toEqual({
        source: "docker-daemon:app:1",
        layers: planned.map((storePaths) => ({ storePaths, size: undefined })),
      });
      const missing = expectOk(await cli("plan", ["--previous", "docker-daemon:app:2"], env), "plan");
      expect(missing.stderr).toMatch(/^note: the previous image: .* has no image app:2; planned afresh$/m);
      await expect(readPreviousLayout("docker-daemon:app:1", { architecture: "arm64" })).rejects.toMatchObject({
        code: "not-found",
      });
    } finally {
      if (DOCKER_HOST === undefined) delete process.env.DOCKER_HOST;
      else process.env.DOCKER_HOST = DOCKER_HOST;
      await docker.stop();
    }
  });
});
