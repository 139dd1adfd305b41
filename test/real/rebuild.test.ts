import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 600_000;

describe.skipIf(requireTools("strace", ...REAL_STORE_TOOLS))("building a real closure again", () => {
  let store: RealStore;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-rebuild-"));
    store = await realStore("small");
  }, LIMIT_MS);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  afterEach(() => rmSync(join(directory, "cache"), { recursive: true, force: true }));

  /** Builds under strace, and gives the store paths of which anything was opened. */
  async function openedBy(roots: readonly string[], ...flags: readonly string[]): Promise<readonly string[]> {
    const trace = join(directory, "trace");
    const args = [
      "build",
      ...roots,
      "--store-root",
      store.storeRoot,
      "--to",
      `oci:${join(directory, "layout")}:1`,
      ...flags,
    ];
    const wrapper = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=open,openat,openat2", "-o", trace];
    expectOk(await runCli([...args, "--quiet"], { wrapper }), "build");
    const opened = new Set<string>();
    const within = new RegExp(`"${store.storeRoot}(/nix/store/[^/"]+)`);
    for (const line of readFileSync(trace, "utf8").split("\n")) {
      const storePath = within.exec(line)?.[1];
      if (storePath !== undefined) opened.add(storePath);
    }
    return [...opened].sort();
  }

  it.each([[[]], [["--compression", "zstd"]], [["--nix-db"]]])(
    "opens no store file where nothing changed, and one layer's where one was added: %j",
    { timeout: LIMIT_MS },
    async (flags) => {
      const leaf = store.packages["busybox-static"] as string;
      const roots = store.roots.filter((root) => root !== leaf).slice(0, 3);
      expect((await openedBy(roots, ...flags)).length).toBeGreaterThan(3);
      expect(await openedBy(roots, ...flags)).toEqual([]);
      expect(await openedBy([...roots, leaf], ...flags)).toEqual([leaf]);
    },
  );
});
