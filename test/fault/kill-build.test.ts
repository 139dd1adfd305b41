import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli, startCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 600_000;
/** Each at another moment of the build, and some after its end: 50 for each round of `npm run test:faults`. */
const KILLS = process.env.FAULT_ROUNDS === undefined ? 20 : 50 * Number(process.env.FAULT_ROUNDS);
/** So often all judges look at the layout; our own looks every time. */
const JUDGED_EVERY = 5;

describe.skipIf(requireTools("skopeo", "umoci", ...REAL_STORE_TOOLS))("a build to an OCI layout that is killed", () => {
  let store: RealStore;
  let directory: string;
  let layout: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-kill-"));
    layout = join(directory, "layout");
    store = await realStore("small");
  }, LIMIT_MS);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const argsOf = (roots: readonly string[], tag: string, cache: string) => [
    "build",
    ...roots,
    ...["--store-root", store.storeRoot, "--to", `oci:${layout}:${tag}`, "--cache-dir", join(directory, cache)],
    ...["--max-layers", "20", "--quiet"],
  ];

  const validate = async (tag: string) => {
    const { status, stderr } = await runCli(["validate", `oci:${layout}:${tag}`, "--quiet"]);
    expect(String(stderr)).toBe("");
    expect(status).toBe(0);
  };
  const judge = async (tag: string) => {
    await validate(tag);
    await runOk("skopeo", ["copy", "--insecure-policy", "-q", `oci:${layout}:${tag}`, `dir:${join(directory, "dir")}`]);
    const unpacked = join(directory, "unpacked");
    await runOk("umoci", ["unpack", "--rootless", "--image", `${layout}:${tag}`, unpacked]);
    rmSync(unpacked, { recursive: true, force: true });
  };

  it("leaves the old state or the new one, and nothing behind at the next run", { timeout: LIMIT_MS }, async () => {
    const [first = "", ...others] = store.roots.slice(0, 4);
    expectOk(await runCli(argsOf([first], "old", "cache")), "build");
    const old = join(directory, "old");
    cpSync(layout, old, { recursive: true });
    const start = performance.now();
    expectOk(await runCli(argsOf(others, "new", "measured")), "build");
    const whole = performance.now() - start;
    const counts = { old: 0, new: 0 };
    for (let i = 0; i < KILLS; i++) {
      // From nothing each time: no blob, no remembered digest.
      rmSync(layout, { recursive: true, force: true });
      rmSync(join(directory, "killed"), { recursive: true, force: true });
      cpSync(old, layout, { recursive: true });
      const running = startCli(argsOf(others, "new", "killed"));
      await sleep(((i + 0.5) / KILLS) * whole * 1.1);
      running.child.kill("SIGKILL");
      await running.ended;
      const tags = await runOk("umoci", ["list", "--layout", layout]);
      const hasNew = tags.split("\n").includes("new");
      counts[hasNew ? "new" : "old"]++;
      if (i % JUDGED_EVERY === 0) for (const tag of hasNew ? ["old", "new"] : ["old"]) await judge(tag);
      else await validate("old");
      if (i % JUDGED_EVERY !== 1) continue;
      expectOk(await runCli(argsOf(others, "new", "killed")), "the next run");
      await validate("new");
      expect(readdirSync(layout).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
    }
    // Kills that all came too late, or too early, would show nothing.
    expect(counts.old).toBeGreaterThan(KILLS / 4);
    process.stdout.write(`killed ${KILLS} builds: ${counts.old} left the old state, ${counts.new} the new one\n`);
  });
});
