import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, startDocker } from "../support/daemons.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 600_000;

interface Verified {
  readonly verified: boolean;
  readonly layers: readonly {
    readonly status: string;
    readonly digest: string | null;
    readonly samePacking: boolean | null;
  }[];
  readonly causes: readonly { readonly kind: string; readonly message: string }[];
}

describe.skipIf(requireTools("skopeo", ...REAL_STORE_TOOLS, ...REGISTRY_TOOLS, ...ENGINE_TOOLS.docker))(
  "verifying images of a real closure",
  { timeout: LIMIT_MS },
  () => {
    let store: RealStore;
    let directory: string;
    let registry: TestRegistry;
    let docker: Docker;
    let roots: readonly string[];
    let input: readonly string[];

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-verify-"));
      store = await realStore("small");
      registry = await startRegistry();
      docker = await startDocker();
      roots = store.roots.slice(0, 3);
      input = [...roots, "--store-root", store.storeRoot, "--name", "app", "--tag", "1"];
      const to = [`oci:${join(directory, "layout")}:1`, `docker://${registry.host}/app:1`];
      const flags = ["--nix-db", "--compression", "gzip", "--quiet"];
      expectOk(await runCli(["build", ...input, ...flags, ...to.flatMap((place) => ["--to", place])]), "build");
    }, LIMIT_MS);
    afterAll(async () => {
      await registry?.stop();
      await docker?.stop();
      rmSync(directory, { recursive: true, force: true });
    });

    /** @param status the exit status that is expected */
    async function verify(place: string, status: number, ...flags: readonly string[]): Promise<Verified> {
      const result = await runCli(["verify", place, ...input, ...flags, "--json"]);
      expect([result.status, String(result.stderr)]).toEqual([status, ""]);
      return JSON.parse(String(result.stdout)) as Verified;
    }

    it("finds them as they should be in a layout and in a registry, to the byte", async () => {
      for (const place of [`oci:${join(directory, "layout")}:1`, `docker://${registry.host}/app:1`]) {
        const { verified, layers } = await verify(place, 0, "--nix-db", "--exact");
        expect(verified).toBe(true);
        expect(layers.length).toBeGreaterThan(5);
      }
      await verify(`docker://${registry.host}/app:1`, 0, "--nix-db", "--no-read");
    });

    it("tells which layer a registry has lost, and compares the others", async () => {
      const lost = `docker://${registry.host}/lost:1`;
      const flags = ["--compression", "gzip", "--max-layers", "4", "--quiet"];
      expectOk(await runCli(["build", ...input, ...flags, "--to", lost]), "build");
      const [first] = (await verify(lost, 0, "--max-layers", "4")).layers;
      const { status } = await fetch(`http://${registry.host}/v2/lost/blobs/${first?.digest}`, { method: "DELETE" });
      expect(status).toBe(202);
      const { layers } = await verify(lost, 3, "--max-layers", "4");
      expect(layers.map((layer) => layer.status)).toEqual(["unreadable", "same", "same", "same"]);
    });

    it("finds one as it should be that Docker and skopeo had in their hands", async () => {
      const archive = join(directory, "docker.tar");
      const flags = ["--max-layers", "3"];
      expectOk(await runCli(["build", ...input, ...flags, "--to", `docker-archive:${archive}`, "-q"]), "build");
      await docker.ok(["load", "--input", archive]);
      const saved = join(directory, "saved.tar");
      await docker.ok(["save", "--output", saved, "app:1"]);
      await verify(`docker-archive:${saved}`, 0, ...flags);
      const fromDaemon = ["verify", "docker-daemon:app:1", ...input, ...flags];
      expectOk(await runCli(fromDaemon, { env: { DOCKER_HOST: docker.host } }), "verify");
      const copied = join(directory, "copied");
      await runOk("skopeo", [
        "copy",
        "-q",
        "--insecure-policy",
        "--dest-compress-format",
        "gzip",
        `docker-archive:${archive}`,
        `oci:${copied}:1`,
      ]);
      const { layers } = await verify(`oci:${copied}:1`, 0, ...flags);
      expect(layers.every(({ samePacking }) => samePacking === null)).toBe(true);
    });

    it.each([
      [["--tar-profile", "dockertools"], "tar-profile"],
      [["--uid", "1000"], "owner"],
      [["--mtime", "7"], "mtime"],
      [["--created", "2020-01-01T00:00:00Z"], "created"],
      [["--max-layers", "4"], "split"],
    ])("says which option was another one: %j", async (flags, kind) => {
      const { causes } = await verify(`oci:${join(directory, "layout")}:1`, 3, "--nix-db", ...flags);
      expect(causes.map((cause) => cause.kind)).toContain(kind);
    });

    it("says which store paths are others", async () => {
      const [, ...others] = roots;
      const place = `oci:${join(directory, "layout")}:1`;
      const result = await runCli(["verify", place, ...others, "--store-root", store.storeRoot, "--nix-db", "--json"]);
      expect(result.status).toBe(3);
      const { causes } = JSON.parse(String(result.stdout)) as Verified;
      expect(causes[0]?.kind).toBe("store-paths");
    });

    it("says that it is the store which changed, not the image", async () => {
      const path = store.packages["busybox-static"] as string;
      const root = join(directory, "root");
      mkdirSync(join(root, dirname(path)), { recursive: true });
      cpSync(join(store.storeRoot, path), join(root, path), {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
      });
      const graph = join(directory, "graph.json");
      const { stdout } = expectOk(await runCli(["closure", path, "--store-root", store.storeRoot]), "closure");
      writeFileSync(graph, stdout);
      const args = [graph, "--store-root", root];
      const place = `oci:${join(directory, "busybox")}:1`;
      expectOk(await runCli(["build", ...args, "--to", place, "--quiet"]), "build");
      expectOk(await runCli(["verify", place, ...args]), "verify");
      const busybox = join(root, store.busybox);
      chmodSync(busybox, 0o755);
      const bytes = Buffer.alloc(1);
      writeFileSync(busybox, bytes, { flag: "r+" });
      chmodSync(busybox, 0o555);
      utimesSync(busybox, 1, 1);
      const result = await runCli(["verify", place, ...args]);
      expect(result.status).toBe(3);
      expect(String(result.stdout)).toContain(`in the contents of ${store.busybox.slice(1)}\n`);
      expect(String(result.stdout)).toContain(`likely  ${path} changed: its NAR hash is not the recorded one`);
    });
  },
);
