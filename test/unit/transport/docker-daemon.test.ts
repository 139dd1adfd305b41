import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ByteSink } from "../../../src/core/byte-sink.js";
import { openDockerDaemonTarget, readDockerDaemon } from "../../../src/transport/docker-daemon/docker-daemon.js";
import { openTargets } from "../../../src/transport/open.js";
import { deferred } from "../../../src/transport/registry/deferred.js";
import { formatTransport, parseTransport } from "../../../src/transport/transport.js";
import { virtualClock } from "../../support/clock.js";
import { type FakeEngine, type FakeEngineOptions, startFakeEngine } from "../../support/fake-engine.js";
import { deliverAll, imageOf, layerOf } from "../../support/outgoing.js";

let directory: string;
let engine: FakeEngine | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-docker-"));
});
afterEach(async () => {
  await engine?.close();
  engine = undefined;
  rmSync(directory, { recursive: true, force: true });
});

describe("docker-daemon:", () => {
  it.each([
    ["docker-daemon:app", "app:latest"],
    ["docker-daemon:docker.io/library/app:1", "app:1"],
    ["docker-daemon:registry.example:5000/team/app:1", "registry.example:5000/team/app:1"],
  ])("is parsed: %s is %s", (text, ref) => {
    expect(parseTransport(text)).toEqual({ transport: "docker-daemon", ref });
    expect(parseTransport(formatTransport(parseTransport(text)))).toEqual({ transport: "docker-daemon", ref });
  });

  it("names an image", () => {
    expect(() => parseTransport("docker-daemon:")).toThrow(expect.objectContaining({ code: "usage" }));
    expect(() => parseTransport("docker-daemon:App")).toThrow(expect.objectContaining({ code: "usage" }));
  });
});

it("docker-daemon: as a target is no ID, which is said before the daemon is asked", async () => {
  const id = parseTransport(`docker-daemon:sha256:${"0".repeat(64)}`);
  vi.stubEnv("DOCKER_HOST", "tcp://127.0.0.1:9");
  await expect(openTargets([id])).rejects.toMatchObject({ code: "usage" });
  vi.unstubAllEnvs();
});

const image = imageOf(["lower", "upper"], { known: true });
const layers = ["lower", "upper"].map(layerOf);
const config = image.config(layers).descriptor;
const manifest = image.manifest(config, layers).descriptor;
/** An image that is there, over the same lower layer. */
const OTHER = `sha256:${createHash("sha256").update("other").digest("hex")}`;

interface Store {
  readonly version?: object;
  readonly info?: object | undefined;
  /** The list of images. */
  readonly images?: readonly object[];
  /** What the loaded image's inspection says besides its ID. */
  readonly inspected?: (loads: number) => object;
  readonly loaded?: (loads: number) => string;
  readonly onLoad?: FakeEngineOptions["onLoad"];
}

async function start({
  version = {},
  info = { Driver: "overlay2", DriverStatus: null },
  images = [{ Id: OTHER }],
  inspected = () => ({}),
  loaded,
  onLoad,
}: Store) {
  engine = await startFakeEngine(directory, {
    ...(onLoad === undefined ? {} : { onLoad }),
    answer(path, loads) {
      if (path === "/version") return { ApiVersion: "1.48", MinAPIVersion: "1.24", ...version };
      if (path === "/info") return info;
      if (path === "/images/json") return images;
      if (path === `/images/${OTHER}/json`) return { RootFS: { Layers: [layerOf("lower").diffId] } };
      if (path.startsWith("/images/load")) return loaded?.(loads) ?? '{"stream":"Loaded image: app:1\\n"}\r\n';
      if (/^\/images\/app:[12]\/json/.test(path)) return { Id: config.digest, ...inspected(loads) };
      return undefined;
    },
  });
  return engine;
}

async function load(signal?: AbortSignal) {
  const environment = { HOME: directory, DOCKER_HOST: (engine as FakeEngine).host };
  const target = await openDockerDaemonTarget(["app:1"], { environment, signal });
  return await deliverAll([image], [target]);
}

const members = (archive: Buffer | undefined) =>
  execFileSync("tar", ["-t"], { input: archive as Buffer, encoding: "utf8" })
    .trimEnd()
    .split("\n");
const lower = layerOf("lower").blob.digest.replace(":", "/").replace(/^/, "blobs/");

const CONTAINERD = {
  info: { Driver: "overlayfs", DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]] },
};
const available = (isAvailable: boolean) => ({
  Id: manifest.digest,
  Manifests: [{ ID: manifest.digest, Available: isAvailable }],
});

describe("an image for a Docker daemon", () => {
  it("comes without the lowest layers that the daemon has", async () => {
    const { archives } = await start({});
    await load();
    expect(archives.map((archive) => members(archive).includes(lower))).toEqual([false]);
  });

  it("comes once for all its names", async () => {
    const { archives, host } = await start({});
    vi.stubEnv("DOCKER_HOST", host);
    try {
      const names = ["docker-daemon:app:1", "docker-daemon:docker.io/library/app:2"];
      await deliverAll([image], await openTargets(names.map(parseTransport)));
    } finally {
      vi.unstubAllEnvs();
    }
    expect(archives).toHaveLength(1);
    const manifests = execFileSync("tar", ["-xO", "manifest.json"], { input: archives[0] as Buffer, encoding: "utf8" });
    expect(JSON.parse(manifests)).toMatchObject([{ RepoTags: ["app:1", "app:2"] }]);
  });

  it("comes whole in the end where the daemon refuses it without them", async () => {
    const missing = '{"errorDetail":{"message":"open blobs/sha256/1: no such file or directory"},"error":"open"}\r\n';
    const { archives } = await start({ loaded: (loads) => (loads === 1 ? missing : "") });
    const [delivered] = await load();
    expect(archives.map((archive) => members(archive).includes(lower))).toEqual([false, true]);
    expect(delivered?.written).toEqual([0, 1]);
  });

  it("is refused once and for all when it is refused whole", async () => {
    const { archives } = await start({ loaded: () => '{"errorDetail":{"message":"no space"},"error":"no space"}' });
    await expect(load()).rejects.toMatchObject({
      code: "output",
      message: expect.stringMatching(/^docker-daemon:app:1: the Docker daemon at unix:.* refuses the image: no space$/),
    });
    expect(archives).toHaveLength(2);
  });

  it("comes without layers to containerd's store, where that has them all the same", async () => {
    const { archives } = await start({ ...CONTAINERD, inspected: () => available(true) });
    await load();
    expect(archives.map((archive) => members(archive).includes(lower))).toEqual([false]);
  });

  it("comes whole to containerd's store in the end, where that lacks blobs", async () => {
    const { archives } = await start({ ...CONTAINERD, inspected: (loads) => available(loads === 2) });
    await load();
    expect(archives.map((archive) => members(archive).includes(lower))).toEqual([false, true]);
  });

  it("comes whole to containerd's store in the end, where it cannot be unpacked", async () => {
    const { archives } = await start({
      ...CONTAINERD,
      inspected: () => available(true),
      loaded: (loads) => (loads === 1 ? '{"stream":"Error unpacking image app:1: not found\\n"}\n' : ""),
    });
    await load();
    expect(archives).toHaveLength(2);
  });

  it("is compared to images of its name first, and to a thousand at most", async () => {
    const more = Array.from({ length: 1500 }, (_, i) => ({
      Id: `sha256:${String(i).padStart(64, "0")}`,
      RepoTags: null,
    }));
    const { archives, requests } = await start({ images: [...more, { Id: OTHER, RepoTags: ["x:1", "app:0"] }] });
    await load();
    expect(archives.map((archive) => members(archive).includes(lower))).toEqual([false]);
    expect(requests.filter((request) => /images\/sha256:/.test(request))).toHaveLength(1000);
  });

  it("comes whole to what cannot say whether it has blobs: an older daemon with containerd's store, podman, a proxy", async () => {
    for (const store of [
      { info: { message: "forbidden" } },
      { ...CONTAINERD, version: { ApiVersion: "1.47" } },
      { version: { Components: [{ Name: "Podman Engine" }] } },
    ]) {
      const { archives, close } = await start(store);
      await load();
      expect(archives.map((archive) => members(archive).includes(lower))).toEqual([true]);
      await close();
    }
  });

  it("is asked for in a version of the API that both speak", async () => {
    for (const [version, spoken] of [
      [{ ApiVersion: "1.41", MinAPIVersion: "1.12" }, "1.41"],
      [{ ApiVersion: "1.99", MinAPIVersion: "1.44" }, "1.48"],
      [{ ApiVersion: "1.99", MinAPIVersion: "1.60" }, "1.60"],
    ] as const) {
      const { requests, close } = await start({ version });
      await load();
      expect(requests).toContain(`POST /v${spoken}/images/load?quiet=1`);
      await close();
    }
  });

  it("fails where the daemon calls another image so afterwards", async () => {
    await start({ inspected: () => ({ Id: OTHER }) });
    await expect(load()).rejects.toMatchObject({
      code: "output",
      message: expect.stringContaining(`calls another image app:1: ${OTHER}, not ${config.digest}`),
    });
  });

  const large = imageOf(["x".repeat(30_000_000)], { known: true });
  const loadLarge = async (signal?: AbortSignal) => {
    const environment = { HOME: directory, DOCKER_HOST: (engine as FakeEngine).host };
    return await deliverAll([large], [await openDockerDaemonTarget(["app:1"], { environment, signal })]);
  };

  it("fails with the daemon's words where that answers before it has everything", async () => {
    await start({
      onLoad(_, response) {
        response.writeHead(500).end('{"message":"write /var/lib/docker: no space left on device"}');
        return true;
      },
    });
    await expect(loadLarge()).rejects.toMatchObject({
      code: "output",
      message: expect.stringContaining("refuses the image: write /var/lib/docker: no space left on device"),
    });
  });

  it("fails where the daemon goes away", async () => {
    await start({
      onLoad(request) {
        request.once("data", () => request.socket.destroy());
        return true;
      },
    });
    await expect(loadLarge()).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("the Docker daemon at unix:"),
    });
  });

  it("says why where the daemon answers and closes before it has all", async () => {
    const { promise: closed, resolve: hasClosed } = deferred<void>();
    const { host } = await start({
      onLoad(request) {
        const { socket } = request;
        const body = '{"message":"no space left on device"}';
        const head = `HTTP/1.1 500 Internal Server Error\r\nContent-Length: ${body.length}\r\n\r\n`;
        request.once("data", () => {
          socket.write(head + body, () => {
            socket.destroy();
            hasClosed();
          });
        });
        return true;
      },
    });
    const text = "x".repeat(1 << 20);
    // More is written at the moment when nobody takes it, and the answer has not been read.
    const waiting = {
      ...imageOf([text], { known: true }),
      open: () => ({
        async write(_: number, sink: ByteSink) {
          await sink.write(Buffer.from(text.slice(0, 10)));
          await closed;
          await sink.write(Buffer.from(text.slice(10)));
          return layerOf(text);
        },
        close: async () => undefined,
      }),
    };
    const environment = { HOME: directory, DOCKER_HOST: host };
    const target = await openDockerDaemonTarget(["app:1"], { environment });
    await expect(deliverAll([waiting], [target])).rejects.toMatchObject({
      code: "output",
      message: expect.stringMatching(/refuses the image: no space left on device$/),
    });
  });

  it("does not ask to start a daemon that closes the connection", async () => {
    await start({
      onLoad(request) {
        request.once("data", () => request.socket.destroy());
        return true;
      },
    });
    await expect(loadLarge()).rejects.toMatchObject({ hint: "its log may say why: journalctl -u docker" });
  });

  it.each([
    ["reads nothing", () => true],
    ["reads all and does not answer", (request: IncomingMessage) => request.resume() !== undefined],
    [
      "begins an answer and does not end it",
      (request: IncomingMessage, response: ServerResponse) =>
        request.resume() && response.write('{"stream":"') !== undefined,
    ],
  ])("is given up where the daemon %s", async (_, onLoad) => {
    const { host } = await start({ onLoad });
    const environment = { HOME: directory, DOCKER_HOST: host };
    const target = await openDockerDaemonTarget(["app:1"], { environment, silenceMs: 100 });
    await expect(deliverAll([imageOf(["x".repeat(1 << 24)])], [target])).rejects.toMatchObject({
      code: "unavailable",
      message: `the Docker daemon at ${host} has neither taken nor said anything for 0.1 s`,
    });
  });

  it("may itself take as long as it wants", async () => {
    const { host } = await start({});
    const environment = { HOME: directory, DOCKER_HOST: host };
    const target = await openDockerDaemonTarget(["app:1"], { environment, silenceMs: 50 });
    const slow = {
      ...image,
      open: (...given: Parameters<typeof image.open>) => {
        const opened = image.open(...given);
        return {
          ...opened,
          async write(...args: Parameters<typeof opened.write>) {
            await new Promise((resolve) => setTimeout(resolve, 200));
            return await opened.write(...args);
          },
        };
      },
    };
    await deliverAll([slow], [target]);
  });

  it("is given up at the deadline", async () => {
    const clock = virtualClock();
    const { host } = await start({
      onLoad(request) {
        request.resume().once("end", () => clock.advance(7000));
        return true;
      },
    });
    vi.stubEnv("DOCKER_HOST", host);
    const options = { clock, deadlineMs: 7000 };
    await expect(
      deliverAll([image], await openTargets([parseTransport("docker-daemon:app:1")], options)),
    ).rejects.toMatchObject({
      code: "unavailable",
      message: `the Docker daemon at ${host}: not done within 7 s`,
    });
    vi.unstubAllEnvs();
  });

  it("ends at once when it is interrupted while the daemon does not read", async () => {
    const controller = new AbortController();
    await start({
      onLoad() {
        setTimeout(() => controller.abort(), 50);
        return true;
      },
    });
    await expect(loadLarge(controller.signal)).rejects.toMatchObject({ code: "interrupted" });
  });

  it("ends at once when it is interrupted while the daemon thinks", async () => {
    const controller = new AbortController();
    await start({
      onLoad(request) {
        request.resume().once("end", () => controller.abort());
        return true;
      },
    });
    await expect(load(controller.signal)).rejects.toMatchObject({ code: "interrupted" });
  });

  it("does not go to what is no daemon", async () => {
    engine = await startFakeEngine(directory, { answer: () => "<html>hello</html>" });
    await expect(load()).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("does not say its version: <html>hello</html>"),
    });
  });
});

describe("an image from a Docker daemon", () => {
  it("is given up at the deadline, and where the daemon falls silent", async () => {
    const clock = virtualClock();
    let isLate = false;
    engine = await startFakeEngine(directory, {
      answer: (path) => (path === "/version" ? { ApiVersion: "1.41" } : "x"),
      onGet(path, response) {
        if (path === "/version") return false;
        response.write("x".repeat(2000));
        if (isLate) clock.advance(7000);
        return true;
      },
    });
    const { host } = engine;
    const environment = { HOME: directory, DOCKER_HOST: host };
    await expect(readDockerDaemon("app:1", { environment, silenceMs: 100 })).rejects.toMatchObject({
      code: "unavailable",
      message: `the Docker daemon at ${host} has neither taken nor said anything for 0.1 s`,
    });
    isLate = true;
    await expect(readDockerDaemon("app:1", { environment, clock, deadlineMs: 7000 })).rejects.toMatchObject({
      code: "unavailable",
      message: `the Docker daemon at ${host}: not done within 7 s`,
    });
  });

  it("fails where its archive is broken", async () => {
    engine = await startFakeEngine(directory, {
      answer: (path) => (path === "/version" ? { ApiVersion: "1.41" } : "x".repeat(2000)),
    });
    const environment = { HOME: directory, DOCKER_HOST: engine.host };
    await expect(readDockerDaemon("app:1", { environment })).rejects.toMatchObject({
      message: expect.stringMatching(/^docker-daemon:app:1/),
    });
  });
});
