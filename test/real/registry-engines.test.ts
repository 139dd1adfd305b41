import { mkdtempSync, readFileSync, rmSync } from "node:fs";
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

interface Pushed {
  readonly manifest: string;
  readonly imageId: string;
  readonly layers: readonly { readonly digest: string; readonly diffId: string }[];
}

describe.skipIf(requireTools("skopeo", ...ENGINE_TOOLS.docker, ...REGISTRY_TOOLS, ...REAL_STORE_TOOLS))(
  "an image at a registry",
  { timeout: LIMIT_MS },
  () => {
    let store: RealStore;
    let registry: TestRegistry;
    let docker: Docker;
    let directory: string;
    let busybox: string;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-pull-"));
      store = await realStore("small");
      busybox = store.packages["busybox-static"] as string;
      registry = await startRegistry();
      docker = await startDocker();
    }, LIMIT_MS);
    afterAll(async () => {
      await docker?.stop();
      await registry?.stop();
      rmSync(directory, { recursive: true, force: true });
    }, LIMIT_MS);

    const push = async (place: string, ...flags: readonly string[]): Promise<Pushed> => {
      // Few layers, as this machine's storage driver may copy all files for each.
      const args = ["push", busybox, `docker://${place}`, "--store-root", store.storeRoot, "--max-layers", "3"];
      const command = ["--entrypoint", `${busybox}/bin/busybox`, "--cmd", "echo", "--cmd", "from the registry"];
      const pushed = await runCli([...args, ...command, "--no-cache", "--json", ...flags], { timeoutMs: LIMIT_MS });
      return JSON.parse(expectOk(pushed, "push").stderr) as Pushed;
    };

    it.each(["gzip", "none"])("of %s layers is pulled and run by Docker as it was built", async (compression) => {
      const place = `${registry.host}/pulled:${compression}`;
      const { imageId, manifest, layers } = await push(place, "--compression", compression);
      await docker.ok(["pull", place]);
      const [found] = JSON.parse(await docker.ok(["image", "inspect", place])) as readonly {
        readonly Id: string;
        readonly RepoDigests: readonly string[];
        readonly RootFS: { readonly Layers: readonly string[] };
      }[];
      expect(found?.Id).toBe(imageId);
      expect(found?.RepoDigests).toEqual([`${registry.host}/pulled@${manifest}`]);
      expect(found?.RootFS.Layers).toEqual(layers.map(({ diffId }) => diffId));
      expect(await docker.ok([...RUN_OPTIONS, place])).toBe("from the registry\n");
      await docker.ok(["image", "rm", place]);
    });

    it("is pulled by skopeo with the bytes of the layout that is built beside it", async () => {
      const place = `docker://${registry.host}/beside:1`;
      const layout = join(directory, "layout");
      const flags = ["--store-root", store.storeRoot, "--compression", "gzip", "--no-cache", "--json"];
      const built = await runCli(["build", busybox, "--to", place, "--to", `oci:${layout}:1`, ...flags]);
      const { manifest, layers } = JSON.parse(expectOk(built, "build").stderr) as Pushed;
      const pulled = join(directory, "pulled");
      await runOk("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", place, `dir:${pulled}`]);
      const blob = (digest: string) => readFileSync(join(layout, "blobs/sha256", digest.slice("sha256:".length)));
      expect(readFileSync(join(pulled, "manifest.json")).equals(blob(manifest))).toBe(true);
      for (const { digest } of layers) {
        expect(readFileSync(join(pulled, digest.slice("sha256:".length))).equals(blob(digest))).toBe(true);
      }
    });
  },
);
