import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type BuildOptions,
  buildPlannedImage,
  copyImages,
  type DigestCache,
  openDigestCache,
  openTarget,
  parseCompression,
  planImage,
} from "../../dist/index.js";
import {
  type DockerDaemonTarget,
  openDockerDaemonTarget,
  readDockerDaemon,
} from "../../dist/transport/docker-daemon/docker-daemon.js";
import type { Environment } from "../../dist/transport/docker-daemon/host.js";
import type { ImageTarget } from "../../dist/transport/image.js";
import { type AppStore, makeAppStore } from "../support/app-store.js";
import { installForEverybody, runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import {
  type Docker,
  ENGINE_TOOLS,
  type Engine,
  type MortalDocker,
  RUN_OPTIONS,
  startDocker,
  startPodmanService,
} from "../support/daemons.js";
import { deliverAll, imageOf } from "../support/outgoing.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 180_000;
const GZIP = parseCompression("gzip:1", "test");

let directory: string;
let store: AppStore;
let cache: DigestCache;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "docker-daemon-"));
  // One test reads it without root's rights.
  chmodSync(directory, 0o755);
  if (requireTools("busybox") !== undefined) return;
  store = await makeAppStore(directory, { libraries: 12, librarySize: 300_000 });
  cache = openDigestCache(join(directory, "cache"));
});
afterAll(() => {
  cache?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Builds a version of the application into a target. */
async function build(version: string, target: ImageTarget, options: BuildOptions = {}) {
  const graph = await store.closureOf(version);
  const plan = await planImage({
    closure: { graph, storeRoot: store.storeRoot },
    config: new Map([["Cmd", store.command]]),
  });
  return await buildPlannedImage(plan, [target], { cache, ...options });
}

/** What a loaded image prints. */
const run = async (engine: Engine, name: string) => await engine.ok([...RUN_OPTIONS, name]);
const idOf = async (engine: Engine, name: string) =>
  (await engine.ok(["image", "inspect", "--format", "{{.Id}}", name])).trim().replace(/^(?!sha256:)/, "sha256:");

describe.skipIf(requireTools("busybox", ...ENGINE_TOOLS.docker))("docker-daemon:", { timeout: LIMIT_MS }, () => {
  let docker: MortalDocker;
  let environment: Environment;
  beforeAll(async () => {
    docker = await startDocker();
    environment = { HOME: directory, DOCKER_HOST: docker.host };
  }, LIMIT_MS);
  afterAll(async () => await docker?.stop(), LIMIT_MS);

  const open = async (name: string, signal?: AbortSignal) =>
    await openDockerDaemonTarget([name], { environment, signal });
  /** Builds a version into the daemon. @returns with the bytes that the daemon was sent */
  const load = async (name: string, version: string, options: BuildOptions = {}) => {
    const target = await open(name);
    const built = await build(version, target, options);
    return { ...built, sent: target.sent };
  };
  const written = ({ layers }: Awaited<ReturnType<typeof load>>) => layers.filter((layer) => layer.written).length;
  const names = async () =>
    (await docker.ok(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])).trim().split("\n");
  const removeAll = async () => void (await docker.ok(["image", "prune", "--all", "--force"]));

  it("takes an image that runs, and afterwards only what has changed", async () => {
    const first = await load("app:1", "1");
    expect(await run(docker, "app:1")).toBe("1");
    expect(await idOf(docker, "app:1")).toBe(first.imageId);
    expect(written(first)).toBe(14);
    const second = await load("app:2", "2");
    expect(await run(docker, "app:2")).toBe("2");
    expect(written(second)).toBe(1);
    expect(second.sent).toBeLessThan(0.05 * first.sent);
    const unchanged = await load("registry.example/team/app:2", "2");
    expect(written(unchanged)).toBe(0);
    expect(unchanged.sent).toBeLessThan(0.01 * first.sent);
    expect(await idOf(docker, "registry.example/team/app:2")).toBe(second.imageId);
  });

  it("leaves packed layers out as well, once they are known", async () => {
    const target = await openTarget({ transport: "oci", directory: join(directory, "layout"), ref: "3" });
    await build("3", target, { compression: GZIP });
    const packed = await load("app:3", "3", { compression: GZIP });
    expect(written(packed)).toBe(1);
    expect(await run(docker, "app:3")).toBe("3");
  });

  it("sends all layers in the end where some are removed while it loads", async () => {
    const { sent: all } = await load("app:4", "4");
    await removeAll();
    const first = await load("app:4", "4");
    expect(first.sent).toBeGreaterThan(0.9 * all);
    const target = await open("app:5");
    const count = target.countHeld?.bind(target);
    const { layers } = await build("5", {
      ...target,
      async countHeld(diffIds) {
        const held = (await count?.(diffIds)) ?? 0;
        if (target.sent === 0) {
          expect(held).toBe(13);
          await removeAll();
        }
        return held;
      },
    });
    expect(layers.every((layer) => layer.written)).toBe(true);
    expect(await run(docker, "app:5")).toBe("5");
    expect(await names()).toEqual(["app:5"]);
  });

  it("sends an equal layer further up, whatever of it lies below", async () => {
    const tar = (name: string) => readFileSync(tarOf(name), "latin1");
    const tarOf = (name: string) => join(directory, `${name}.tar`);
    for (const name of ["a", "b", "c"]) {
      const files = join(directory, name);
      mkdirSync(files);
      writeFileSync(join(files, name), name);
      await runOk("tar", ["-cf", tarOf(name), "-C", files, name]);
    }
    const known = { known: true, names: [] };
    await deliverAll([imageOf([tar("a"), tar("b"), tar("a")], known)], [await open("equal:1")]);
    const image = imageOf([tar("a"), tar("c"), tar("a")], known);
    const [delivered] = await deliverAll([image], [await open("equal:2")]);
    expect(delivered?.written).toEqual([1, 2]);
    expect(await names()).toContain("equal:2");
  });

  it("has nothing of an image whose load is interrupted", async () => {
    const controller = new AbortController();
    const target = await open("interrupted:1", controller.signal);
    const observer = {
      progress: { bytes: 0, entries: 0 },
      onLayer: ({ index }: { readonly index: number }) => void (index === 10 && controller.abort()),
    };
    await removeAll();
    const building = build("6", target, { signal: controller.signal, observer });
    await expect(building).rejects.toMatchObject({ code: "interrupted" });
    expect(target.sent).toBeGreaterThan(0);
    expect(await names()).not.toContain("interrupted:1");
    expect((await load("interrupted:1", "6")).imageId).toBe(await idOf(docker, "interrupted:1"));
  });

  it("has the old image where the daemon is killed before it has all of the new one", async () => {
    const old = await load("killed:1", "a");
    const target = await open("killed:1");
    const building = build("b", {
      ...target,
      async finish(...all) {
        await docker.kill();
        return await target.finish(...all);
      },
    });
    await expect(building.finally(docker.restart)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/^the Docker daemon at unix:.* \(DOCKER_HOST\) closed the connection/),
    });
    expect(await idOf(docker, "killed:1")).toBe(old.imageId);
    const next = await load("killed:1", "b");
    expect(await idOf(docker, "killed:1")).toBe(next.imageId);
    expect(await run(docker, "killed:1")).toBe("b");
  });

  it("has the old image where a stream to docker load ends before its end", async () => {
    const stream = async (version: string) => {
      const args = [await store.closureOf(version), "--store-root", store.storeRoot, "--name", "cut", "--tag", "1"];
      return expectOk(await runCli(["stream", ...args, "--quiet"], { env: { HOME: directory } }), "stream").stdout;
    };
    const [old, made] = [await stream("c"), await stream("d")];
    await docker.ok(["load"], { stdin: old });
    const id = await idOf(docker, "cut:1");
    const manifest = made.indexOf("manifest.json\0");
    expect(manifest).toBeGreaterThan(0);
    for (const end of [Math.floor(manifest / 2), manifest, manifest + 600]) {
      await docker.run(["load"], { stdin: made.subarray(0, end) });
      expect(await idOf(docker, "cut:1")).toBe(id);
    }
    await docker.ok(["load"], { stdin: made });
    expect(await idOf(docker, "cut:1")).not.toBe(id);
  });

  it("says in the daemon's words what is wrong with an image", async () => {
    const loading = deliverAll([imageOf(["this is no tar archive"])], [await open("broken:1")]);
    await expect(loading).rejects.toMatchObject({
      code: "output",
      message: expect.stringMatching(
        /^docker-daemon:broken:1: the Docker daemon at unix:.* refuses the image: .*(tar|EOF)/,
      ),
    });
    expect(await names()).not.toContain("broken:1");
  });

  it("is read: its image keeps config and layers", async () => {
    const built = await load("read:1", "7");
    const source = await readDockerDaemon("read:1", { environment });
    try {
      const [image] = source.images;
      expect(image?.config.descriptor.digest).toBe(built.imageId);
      expect(image?.layers.map(({ diffId }) => diffId)).toEqual(built.layers.map(({ diffId }) => diffId));
      const layout = join(directory, "read");
      await copyImages(source.images, [await openTarget({ transport: "oci", directory: layout, ref: "1" })]);
      const again = await open("read:2");
      await copyImages(source.images, [again]);
      expect(await run(docker, "read:2")).toBe("7");
    } finally {
      source.close();
    }
    await expect(readDockerDaemon("absent:1", { environment })).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("absent:1"),
    });
  });

  describe("from the command line", () => {
    const build8 = async (to: readonly string[], env: Environment) => {
      const graph = await store.closureOf("8");
      return await runCli(
        ["build", graph, "--store-root", store.storeRoot, "--quiet", ...to.flatMap((place) => ["--to", place])],
        { env: { DOCKER_HOST: undefined, HOME: directory, ...env } },
      );
    };

    it("gives an image two names at once", async () => {
      const to = ["docker-daemon:two:1", "docker-daemon:two"];
      expectOk(await build8(to, { DOCKER_HOST: docker.host }), "build");
      expect(await idOf(docker, "two:1")).toBe(await idOf(docker, "two:latest"));
    });

    it("goes where Docker's contexts say", async () => {
      const config = join(directory, "config");
      const env = { DOCKER_CONFIG: config };
      const dockerOk = (...args: readonly string[]) =>
        runOk("docker", args, { env: { ...process.env, ...env, DOCKER_HOST: undefined } });
      await dockerOk("context", "create", "there", "--docker", `host=${docker.host}`);
      expectOk(await build8(["docker-daemon:context:1"], { ...env, DOCKER_CONTEXT: "there" }), "build");
      await dockerOk("context", "use", "there");
      expectOk(await build8(["docker-daemon:context:2"], env), "build");
      expect(await names()).toEqual(expect.arrayContaining(["context:1", "context:2"]));
      const { status, stderr } = await build8(["docker-daemon:context:3"], { ...env, DOCKER_CONTEXT: "elsewhere" });
      expect(status).not.toBe(0);
      expect(stderr).toMatch(/there is no Docker context "elsewhere", which DOCKER_CONTEXT names/);
    });

    it("says that there is no daemon, before anything is read", async () => {
      const address = `unix://${directory}/none.sock`;
      const { status, stderr } = await build8(["docker-daemon:app:1"], { DOCKER_HOST: address });
      expect(status).not.toBe(0);
      expect(stderr).toContain(`there is no Docker daemon at ${address} (DOCKER_HOST)`);
      expect(stderr).toContain("systemctl start docker");
    });

    it.skipIf(requireTools("root"))("says who may use the daemon to those who may not", async () => {
      const { directory: installed, program } = installForEverybody();
      try {
        const [env, closure] = [{ DOCKER_HOST: docker.host, HOME: "/nonexistent" }, await store.closureOf("8")];
        const { status, stderr } = await runCli(
          ["build", closure, "--store-root", store.storeRoot, "--to", "docker-daemon:app:1"],
          { program, uid: 65534, gid: 65534, cwd: "/", env: { ...env, XDG_CACHE_HOME: undefined } },
        );
        expect(status).not.toBe(0);
        expect(stderr).toMatch(/the Docker daemon at unix:.* \(DOCKER_HOST\): permission denied \(EACCES\)/);
        expect(stderr).toContain("group docker");
      } finally {
        rmSync(installed, { recursive: true, force: true });
      }
    });

    it("copies an image from one daemon's name to another's", async () => {
      await load("from:1", "9");
      const env = { HOME: directory, DOCKER_HOST: docker.host };
      expectOk(await runCli(["copy", "docker-daemon:from:1", "docker-daemon:to:1"], { env }), "copy");
      expect(await idOf(docker, "to:1")).toBe(await idOf(docker, "from:1"));
    });
  });
});

describe.skipIf(requireTools("busybox", "openssl", ...ENGINE_TOOLS.docker))(
  "docker-daemon: over TCP",
  { timeout: LIMIT_MS },
  () => {
    const loads = async (docker: Docker, environment: Environment) => {
      const target = await openDockerDaemonTarget(["app:1"], { environment });
      await build("1", target);
      expect(await run(docker, "app:1")).toBe("1");
    };

    it("works on loopback without TLS", async () => {
      const port = await freePort();
      const docker = await startDocker({ daemonArgs: ["--host", `tcp://127.0.0.1:${port}`, "--tls=false"] });
      try {
        await loads(docker, { HOME: directory, DOCKER_HOST: `tcp://127.0.0.1:${port}` });
      } finally {
        await docker.stop();
      }
    });

    it("works with certificates, and says which are missing", async () => {
      const { server, client } = await makeCertificates(join(directory, "tls"));
      const port = await freePort();
      const docker = await startDocker({
        daemonArgs: [
          ...["--host", `tcp://127.0.0.1:${port}`, "--tlsverify", "--tlscacert", join(server, "ca.pem")],
          ...["--tlscert", join(server, "cert.pem"), "--tlskey", join(server, "key.pem")],
        ],
      });
      const DOCKER_HOST = `tcp://127.0.0.1:${port}`;
      const HOME = directory;
      try {
        await loads(docker, { HOME, DOCKER_HOST, DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: client });
        const refused = (environment: Environment) =>
          expect(openDockerDaemonTarget(["app:1"], { environment: { HOME, DOCKER_HOST, ...environment } })).rejects;
        await refused({}).toMatchObject({ code: "unavailable", hint: expect.stringContaining("DOCKER_TLS_VERIFY=1") });
        await refused({ DOCKER_TLS_VERIFY: "1" }).toMatchObject({ hint: expect.stringContaining("ca.pem") });
        rmSync(join(client, "key.pem"));
        rmSync(join(client, "cert.pem"));
        await refused({ DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: client }).toMatchObject({
          code: "unavailable",
          message: expect.stringContaining(DOCKER_HOST),
        });
      } finally {
        await docker.stop();
      }
    });
  },
);

describe.skipIf(requireTools("busybox", ...ENGINE_TOOLS.podmanService))(
  "docker-daemon: with podman's service",
  { timeout: LIMIT_MS },
  () => {
    it("loads all layers each time, as podman wants", async () => {
      const podman = await startPodmanService();
      try {
        const environment = { HOME: directory, DOCKER_HOST: podman.host };
        const sent: number[] = [];
        for (const version of ["1", "2"]) {
          const target: DockerDaemonTarget = await openDockerDaemonTarget([`app:${version}`], { environment });
          const { imageId } = await build(version, target);
          sent.push(target.sent);
          expect(await run(podman, `docker.io/library/app:${version}`)).toBe(version);
          expect(await idOf(podman, `docker.io/library/app:${version}`)).toBe(imageId);
        }
        expect(sent[0]).toBeGreaterThan(12 * 300_000);
        expect(sent[1]).toBe(sent[0]);
      } finally {
        await podman.stop();
      }
    });
  },
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A CA, and what it vouches for, in directories as Docker wants them. */
async function makeCertificates(directory: string): Promise<{ readonly server: string; readonly client: string }> {
  const openssl = (...args: readonly string[]) => runOk("openssl", args, { cwd: directory });
  mkdirSync(directory);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "ca-key.pem",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=test CA",
    "-days",
    "2",
  );
  for (const name of ["server", "client"]) {
    mkdirSync(join(directory, name));
    await openssl("req", ...key, "-keyout", `${name}/key.pem`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    writeFileSync(join(directory, `${name}.ext`), `subjectAltName=IP:127.0.0.1\nextendedKeyUsage=${name}Auth\n`);
    await openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"],
      ...["-days", "2", "-extfile", `${name}.ext`, "-out", `${name}/cert.pem`],
    );
    writeFileSync(join(directory, name, "ca.pem"), readFileSync(join(directory, "ca.pem")));
  }
  return { server: join(directory, "server"), client: join(directory, "client") };
}
