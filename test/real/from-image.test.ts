import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 300_000;

interface DockerImage {
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly Config: { readonly Env: readonly string[]; readonly User: string };
}

describe.skipIf(requireTools(...ENGINE_TOOLS.docker, ...REGISTRY_TOOLS, ...REAL_STORE_TOOLS))(
  "an image on top of one by Docker",
  { timeout: LIMIT_MS },
  () => {
    let store: RealStore;
    let registry: TestRegistry;
    let docker: Docker;
    let directory: string;
    let busybox: string;
    let base: string;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-base-"));
      store = await realStore("small");
      busybox = store.packages["busybox-static"] as string;
      registry = await startRegistry();
      docker = await startDocker();
      mkdirSync(join(directory, "root/etc"), { recursive: true });
      writeFileSync(join(directory, "root/etc/base"), "from the base\n");
      await runOk("tar", ["-C", join(directory, "root"), "-cf", join(directory, "root.tar"), "etc"]);
      base = `${registry.host}/base:1`;
      const changes = ["ENV A=base", "ENV B=base", "USER 12:34", 'CMD ["never"]'].flatMap((line) => ["--change", line]);
      await docker.ok(["import", ...changes, join(directory, "root.tar"), base]);
      await docker.ok(["push", base]);
    }, LIMIT_MS);
    afterAll(async () => {
      await docker?.stop();
      await registry?.stop();
      rmSync(directory, { recursive: true, force: true });
    }, LIMIT_MS);

    const inspect = async (name: string) =>
      (JSON.parse(await docker.ok(["image", "inspect", name])) as readonly DockerImage[])[0] as DockerImage;

    const push = async (from: string, to: string, ...flags: readonly string[]) => {
      const command = ["--entrypoint", `${busybox}/bin/busybox`, "--env", "B=own", "--store-root", store.storeRoot];
      const args = ["push", busybox, `docker://${to}`, "--from-image", from, ...command, "--no-cache", "--json"];
      return expectOk(await runCli([...args, ...flags], { timeoutMs: LIMIT_MS }), "push").stderr;
    };

    it("runs with the base's files, environment and user, and its own program", async () => {
      const image = `${registry.host}/app:1`;
      const summary = JSON.parse(await push(`docker://${base}`, image, "--max-layers", "4"));
      // The base's layer is at the registry, in another repository.
      expect(summary.layers[0].written).toBe(false);
      await docker.ok(["pull", image]);
      const [below, above] = [await inspect(base), await inspect(image)];
      expect(above.RootFS.Layers.slice(0, 1)).toEqual(below.RootFS.Layers);
      const run = (...args: readonly string[]) => docker.ok([...RUN_OPTIONS, image, ...args]);
      expect(await run("cat", "/etc/base")).toBe("from the base\n");
      expect(await run("sh", "-c", "echo $A $B $(id -u):$(id -g)")).toBe("base own 12:34\n");
    });

    it("is a base itself: three on top of each other keep their order", async () => {
      const names = [1, 2, 3].map((i) => `${registry.host}/stack:${i}`) as [string, string, string];
      await push(`docker://${base}`, names[0], "--max-layers", "4");
      await push(`docker://${names[0]}`, names[1], "--max-layers", "4", "--env", "B=second");
      await push(`docker://${names[1]}`, names[2], "--max-layers", "4", "--env", "B=third");
      await docker.ok(["pull", names[2]]);
      const { RootFS, Config } = await inspect(names[2]);
      const layers = (await inspect(base)).RootFS.Layers;
      // What the first added the others have already.
      expect(RootFS.Layers).toHaveLength(2);
      expect(RootFS.Layers.slice(0, 1)).toEqual(layers);
      expect(Config.Env.filter((entry) => /^[AB]=/.test(entry))).toEqual(["A=base", "B=third"]);
      expect(await docker.ok([...RUN_OPTIONS, names[2], "cat", "/etc/base"])).toBe("from the base\n");
    });

    it("is made from the daemon's image, and loaded into it", async () => {
      const command = ["--entrypoint", `${busybox}/bin/busybox`, "--store-root", store.storeRoot, "--no-cache"];
      const args = ["build", busybox, "--from-image", `docker-daemon:${base}`, "--to", "docker-daemon:on-daemon:1"];
      const built = await runCli([...args, ...command], { env: { DOCKER_HOST: docker.host }, timeoutMs: LIMIT_MS });
      expectOk(built, "build");
      expect(await docker.ok([...RUN_OPTIONS, "on-daemon:1", "cat", "/etc/base"])).toBe("from the base\n");
    });
  },
);
