import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AppStore, makeAppStore } from "../support/app-store.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 300_000;

describe.skipIf(requireTools("busybox", ...REGISTRY_TOOLS))("what a plan announces", () => {
  let directory: string;
  let store: AppStore;
  let registry: TestRegistry;
  let proxy: FaultProxy;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-plan-push-"));
    store = await makeAppStore(directory, { libraries: 5, librarySize: 300_000 });
    registry = await startRegistry();
    proxy = await startFaultProxy(registry.host);
  }, LIMIT_MS);
  afterAll(async () => {
    await proxy.stop();
    await registry.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Runs a command on a release's spec. */
  const run = async (command: string, release: string, ...args: readonly string[]) => {
    const spec = join(directory, `release-${release}.json`);
    const closure = { graph: await store.closureOf(release), storeRoot: store.storeRoot };
    writeFileSync(spec, JSON.stringify({ closure, maxLayers: 4, config: { Env: [`RELEASE=${release}`] } }));
    return expectOk(await runCli([command, spec, ...args, "--json", "--progress", "none"]), command);
  };
  const announced = async (release: string, ...args: readonly string[]) =>
    JSON.parse(String((await run("plan", release, "--exact", ...args)).stdout));
  const sentManifests = () =>
    proxy.requests
      .filter(({ method, url }) => method === "PUT" && url.includes("/manifests/"))
      .reduce((sum, { sent }) => sum + sent, 0);

  it.each([
    ["gzip", "by-gzip"],
    ["zstd:3", "by-zstd"],
    ["none", "unpacked"],
  ])(
    "is what a push then sends to a registry, to the byte, packed by %s",
    { timeout: LIMIT_MS },
    async (compression, name) => {
      const cache = ["--cache-dir", join(directory, name), "--compression", compression];
      const place = (tag: string) => `docker://${proxy.host}/${name}:${tag}`;
      // Nothing is there, and nothing is remembered.
      const first = await announced("1", ...cache);
      expect(proxy.requests.filter(({ url }) => url.includes(name))).toEqual([]);
      proxy.reset();
      await run("push", "1", place("1"), ...cache);
      expect([proxy.uploaded(), sentManifests()]).toEqual([first.exact.uploadBytes, first.exact.manifest.size]);
      expect(first.exact.uploadBytes).toBeGreaterThan(1_500_000);

      const second = await announced("2", "--previous", place("1"), ...cache);
      proxy.reset();
      const pushed = await run("push", "2", place("2"), "--previous", place("1"), ...cache);
      expect([proxy.uploaded(), sentManifests()]).toEqual([second.exact.uploadBytes, second.exact.manifest.size]);
      expect(second.exact.uploadBytes).toBeLessThan(first.exact.uploadBytes);
      expect(second.layers.filter(({ blob }: { blob: { isHeld: boolean } }) => blob.isHeld).length).toBeGreaterThan(0);
      expect(String(pushed.stdout).trim()).toBe(second.exact.manifest.digest);

      // The same once more uploads nothing.
      const again = await announced("2", "--previous", place("2"), ...cache);
      expect([again.exact.uploadBytes, again.exact.configBytes]).toEqual([0, 0]);
      expect(again.exact.manifest.isHeld).toBe(true);
    },
  );

  it("leaves nothing behind but what the cache remembers, and is held against budgets as packed", {
    timeout: LIMIT_MS,
  }, async () => {
    const spec = join(directory, "budget.json");
    const closure = { graph: await store.closureOf("3"), storeRoot: store.storeRoot };
    writeFileSync(spec, JSON.stringify({ closure, maxLayers: 4 }));
    const plan = (...args: readonly string[]) => runCli(["plan", spec, "--exact", "--no-cache", ...args, "--quiet"]);
    const { exact } = JSON.parse(String(expectOk(await plan("--json"), "plan").stdout));
    expectOk(await plan("--budget", `${exact.uploadBytes}`), "plan");
    const over = await plan("--budget", `${exact.uploadBytes - 1}`);
    expect([over.status, over.stderr]).toEqual([3, expect.stringContaining(`(${exact.uploadBytes} bytes) in all`)]);
  });
});
