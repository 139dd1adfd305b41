import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 600_000;

describe.skipIf(requireTools("skopeo", "strace", ...REGISTRY_TOOLS, ...REAL_STORE_TOOLS))("oci-nix push", () => {
  let registry: TestRegistry;
  let store: RealStore;
  let directory: string;
  let roots: readonly string[];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-push-"));
    store = await realStore("small");
    registry = await startRegistry();
    roots = store.roots.slice(0, 2);
  }, LIMIT_MS);
  afterAll(async () => {
    await registry.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const push = async (cache: string, name: string, ...flags: readonly string[]) => {
    const place = `docker://${registry.host}/${name}`;
    const args = ["push", ...roots, place, "--store-root", store.storeRoot, "--cache-dir", join(directory, cache)];
    const { stdout, stderr } = expectOk(await runCli([...args, "--quiet", ...flags]), "push");
    expect(stderr).toBe("");
    return String(stdout);
  };
  const fates = (report: string) => report.match(/exists|mounts|uploads/g) ?? [];

  it("pushes layers packed by gzip, prints the digest alone, and skopeo pulls them", {
    timeout: LIMIT_MS,
  }, async () => {
    const digest = (await push("cache", "app:1")).trim();
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    const inspected = JSON.parse(
      await runOk("skopeo", ["inspect", "--raw", "--tls-verify=false", `docker://${registry.host}/app:1`]),
    ) as { readonly layers: readonly { readonly mediaType: string }[] };
    expect(new Set(inspected.layers.map(({ mediaType }) => mediaType))).toEqual(
      new Set(["application/vnd.oci.image.layer.v1.tar+gzip"]),
    );
    const copied = join(directory, "copied");
    const from = `docker://${registry.host}/app:1`;
    await runOk("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", "-q", from, `oci:${copied}:1`]);
    expectOk(await runCli(["validate", `oci:${copied}:1`]), "validate");
  });

  it("says beforehand what each layer needs, and changes nothing", { timeout: LIMIT_MS }, async () => {
    expect(new Set(fates(await push("empty", "dry:1", "--dry-run")))).toEqual(new Set(["uploads"]));
    await push("cache", "dry:0");
    expect(new Set(fates(await push("cache", "dry:1", "--dry-run")))).toEqual(new Set(["exists"]));
    // The cache knows where the layers are.
    expect(new Set(fates(await push("cache", "elsewhere:1", "--dry-run")))).toEqual(new Set(["mounts"]));
    const refs = await runCli(["inspect", `docker://${registry.host}/elsewhere:1`]);
    expect(refs.status).toBe(1);
    const report = JSON.parse(await push("cache", "elsewhere:1", "--dry-run", "--json")) as {
      readonly layers: readonly { readonly size: number; readonly fates: readonly string[] }[];
    };
    expect(report.layers.every(({ size, fates: [fate] }) => size > 0 && fate === "mounts")).toBe(true);
  });

  it("says what builds and copies would do, too, and makes nothing", { timeout: LIMIT_MS }, async () => {
    await push("cache", "foreseen:1");
    const layout = join(directory, "foreseen");
    const lock = join(directory, "foreseen.lock");
    const [here, there] = [`docker://${registry.host}/foreseen:1`, `docker://${registry.host}/foreseen-2:1`];
    const report = async (...args: readonly string[]) =>
      JSON.parse(String(expectOk(await runCli([...args, "--dry-run", "--json"]), "dry run").stdout)) as {
        readonly targets: readonly string[];
        readonly layers: readonly { readonly fates: readonly string[] }[];
      };
    const flags = ["--store-root", store.storeRoot, "--cache-dir", join(directory, "cache"), "--compression", "gzip"];
    const to = [here, there, `oci:${layout}:1`].flatMap((place) => ["--to", place]);
    const built = await report("build", ...roots, ...to, ...flags, "--tls-verify", "true");
    expect(built.targets).toEqual([here, there, `oci:${layout}:1`]);
    for (const { fates } of built.layers) expect(fates).toEqual(["exists", "mounts", "uploads"]);
    const copied = await report("copy", here, there, `oci:${layout}:1`, "--lock", lock, "--no-cache");
    for (const { fates } of copied.layers) expect(fates).toEqual(["mounts", "uploads"]);
    expect([existsSync(layout), existsSync(lock)]).toEqual([false, false]);
    expect((await runCli(["inspect", there])).status).toBe(1);
  });

  it("reads no file of the store where digests of yesterday are imported", { timeout: LIMIT_MS }, async () => {
    const digest = await push("cache", "ci:1");
    const exported = join(directory, "digests.jsonl");
    expectOk(await runCli(["cache", "export", exported, "--cache-dir", join(directory, "cache")]), "export");
    expectOk(await runCli(["cache", "import", exported, "--cache-dir", join(directory, "ci")]), "import");
    const trace = join(directory, "trace");
    const wrapper = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=open,openat,openat2", "-o", trace];
    const args = ["push", ...roots, `docker://${registry.host}/ci:2`, "--store-root", store.storeRoot];
    const pushed = expectOk(
      await runCli([...args, "--cache-dir", join(directory, "ci"), "--quiet"], { wrapper }),
      "push",
    );
    expect(String(pushed.stdout)).toBe(digest);
    expect(readFileSync(trace, "utf8")).not.toContain(`"${store.storeRoot}/nix/store/`);
  });

  it("copies within a registry by mounting, and between registries by sending", { timeout: LIMIT_MS }, async () => {
    const digest = (await push("cache", "here:1")).trim();
    const copied = await runCli([
      "copy",
      `docker://${registry.host}/here:1`,
      `docker://${registry.host}/there:1`,
      "--json",
      "--no-cache",
    ]);
    expect(String(expectOk(copied, "copy").stdout).trim()).toBe(digest);
    const { layers } = JSON.parse(copied.stderr) as { readonly layers: readonly { readonly written: boolean }[] };
    expect(layers.every(({ written }) => !written)).toBe(true);
    const other = await startRegistry();
    try {
      const away = await runCli([
        "copy",
        `docker://${registry.host}/here:1`,
        `docker://${other.host}/there:1`,
        "--no-cache",
      ]);
      expect(String(expectOk(away, "copy").stdout).trim()).toBe(digest);
      expectOk(await runCli(["validate", `docker://${other.host}/there:1`]), "validate");
    } finally {
      await other.stop();
    }
  });

  it("locks which image a name stands for", { timeout: LIMIT_MS }, async () => {
    await push("cache", "base:1");
    const lock = join(directory, "base.lock");
    const pull = (place: string) =>
      runCli(["copy", place, `oci:${join(directory, "base")}:1`, "--lock", lock, "--quiet"]);
    const first = expectOk(await pull(`docker://${registry.host}/base:1`), "copy");
    const digest = String(first.stdout).trim();
    expect(JSON.parse(readFileSync(lock, "utf8"))).toMatchObject({ name: `${registry.host}/base`, tag: "1", digest });
    // The tag moves on; the lock does not.
    await push("cache", "base:1", "--env", "A=1");
    expect(String(expectOk(await pull(`docker://${registry.host}/base:1`), "copy").stdout).trim()).toBe(digest);
    const other = await pull(`docker://${registry.host}/base:2`);
    expect([other.status, other.stderr]).toEqual([1, expect.stringContaining("the lock file is for the tag 1, not 2")]);
    expect((await runCli(["copy", `oci:${join(directory, "base")}:1`, "oci:x", "--lock", lock])).status).toBe(2);
    // Another digest than the locked one is another image.
    const pinned = join(directory, "pinned.lock");
    const pullPinned = (wanted: string, ...flags: readonly string[]) =>
      runCli([
        "copy",
        `docker://${registry.host}/base@${wanted}`,
        `oci:${directory}/base:2`,
        "--lock",
        pinned,
        ...flags,
      ]);
    expectOk(await pullPinned(digest, "--platform", "linux/amd64"), "copy");
    expectOk(await pullPinned(digest, "--platform", "linux/amd64"), "copy");
    for (const [wanted, flags] of [
      [`sha256:${"0".repeat(64)}`, []],
      [digest, ["--platform", "linux/arm64"]],
    ] as const) {
      const refused = await pullPinned(wanted, ...flags);
      expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("the lock file is for the")]);
    }
    // What cannot be locked is not copied.
    const unwritable = await runCli([
      "copy",
      `docker://${registry.host}/base:1`,
      `oci:${directory}/none:1`,
      "--lock",
      "/proc/x.lock",
    ]);
    expect(unwritable.status).toBe(1);
    expect(existsSync(join(directory, "none"))).toBe(false);
  });

  it("refuses what is no repository to mount from, and repeats no password", async () => {
    const args = ["push", ...roots, "--store-root", store.storeRoot, "--no-cache", "--quiet", "--dry-run"];
    for (const source of ["BAD NAME", "two:1", "../../v2/_catalog?n=1#", "registry.example/app"]) {
      const refused = await runCli([...args, `docker://${registry.host}/app:9`, "--mount-from", source]);
      expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining("--mount-from")]);
    }
    const named = `${registry.host}/app`;
    expectOk(await runCli([...args, `docker://${registry.host}/app:9`, "--mount-from", named]), "push");
    for (const place of [
      `docker://tester:SECRET@${registry.host}/x:1`,
      `docker://https://tester:SECRET@example.com/x`,
    ]) {
      const refused = await runCli([...args, place]);
      expect(refused.status).toBe(2);
      expect(refused.stderr).not.toContain("SECRET");
    }
  });

  it("ends at its deadline where the registry never answers", async () => {
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    try {
      const place = `docker://127.0.0.1:${(silent.address() as AddressInfo).port}/app:1`;
      const args = ["push", ...roots, place, "--store-root", store.storeRoot, "--no-cache", "--quiet"];
      expect((await runCli([...args, "--deadline", "1"])).status).toBe(75);
    } finally {
      silent.close();
    }
  });

  it("ends with 75 where the registry is away, and without a place with 2", async () => {
    const args = [...roots, "--store-root", store.storeRoot, "--no-cache", "--quiet"];
    const away = await runCli(["push", ...args, "docker://127.0.0.1:9/app:1"]);
    expect([away.status, away.stderr]).toEqual([75, expect.stringContaining("127.0.0.1:9 cannot be reached")]);
    expect((await runCli(["push", ...args])).status).toBe(2);
    expect((await runCli(["push", ...args, "docker://localhost:99999/app:1"])).status).toBe(2);
  });
});
