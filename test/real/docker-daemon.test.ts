import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildPlannedImage, copyImages, type DigestCache, openDigestCache, parseCompression, planImage } from "../../src/index.js";
import { sha256 } from "../../src/core/digest.js";
import { openDockerDaemonTarget, readDockerDaemon } from "../../src/transport/docker-daemon.js";
import type { Environment } from "../../src/transport/docker-host.js";
import type { ImageTarget } from "../../src/transport/image.js";
import { type AppStore, makeAppStore } from "../support/app-store.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import {
  type Docker,
  ENGINE_TOOLS,
  type Engine,
  RUN_OPTIONS,
  startDocker,
  startPodmanService,
} from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 180_000;

let directory: string;
let store: AppStore;
let cache: DigestCache;
let versions = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "docker-daemon-"));
  if (requireTools("busybox") !== undefined) return;
  store = await makeAppStore(directory, { libraries: 20, librarySize: 200_000 });
  cache = openDigestCache(join(directory, "cache"));
}, LIMIT_MS);
afterAll(() => {
  cache?.close();
  rmSync(directory, { recursive: true, force: true });
});

const nextVersion = () => String(++versions);

/** Builds a version of the application into targets. */
async function build(version: string, targets: readonly ImageTarget[], options: object = {}) {
  const graph = await store.closureOf(version);
  const plan = await planImage({
    closure: { graph, storeRoot: store.storeRoot },
    config: { Cmd: store.command },
  } as never);
  return await buildPlannedImage(plan, targets, { cache, threads: 0, ...options });
}

const version = async (engine: Engine, name: string) => await engine.ok([...RUN_OPTIONS, name]);

describe.skipIf(requireTools("busybox", ...ENGINE_TOOLS.docker))("docker-daemon:", () => {
  let docker: Docker;
  let environment: Environment;
  beforeAll(async () => {
    docker = await startDocker();
    environment = { HOME: directory, DOCKER_HOST: docker.host };
  }, LIMIT_MS);
  afterAll(async () => await docker?.stop());

  it("runs", async () => {
    const target = await openDockerDaemonTarget("app:1", { environment });
    const built = await build("1", [target]);
    console.log(target.sent, built.layers.length);
    expect(await version(docker, "app:1")).toBe("1");
    const second = await openDockerDaemonTarget("app:2", { environment });
    const b2 = await build("2", [second]);
    console.log(second.sent, b2.layers.filter((l) => l.written).length);
    expect(await version(docker, "app:2")).toBe("2");
  }, LIMIT_MS);
});
