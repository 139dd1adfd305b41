import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installForEverybody, runCli } from "../support/cli.js";
import { type CommandResult, expectOk, runCommand } from "../support/command.js";
import { allSurroundings, type Built, builtIn, commandIn, type Surroundings } from "../support/determinism.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 3_600_000;
/** The whole campaign, rather than what is quick. */
const FULL = process.env.OCI_NIX_DETERMINISM === "full";

/** What is built, as fields of a spec. */
const SPECS: Readonly<Record<string, object>> = {
  "closure-cost, gzip": { compression: "gzip" },
  "customised, Nix database, zstd": {
    ...{ compression: "zstd", helpers: ["binSh", { fakeNss: {} }], nixDatabase: { enable: true } },
    files: [{ target: "/tmp", directory: true, mode: "1777" }],
  },
  "popularity, dockertools, not packed": {
    strategy: "popularity",
    tarProfile: "dockertools",
    maxLayers: 8,
    compression: "none",
  },
  ...(FULL && {
    "nix2container, gzip:1": { strategy: "nix2container", tarProfile: "nix2container", compression: "gzip:1" },
    "one layer, gzip:9, other owner": {
      oneLayer: true,
      compression: "gzip:9",
      uid: 1000,
      gid: 100,
      uname: "u",
      gname: "g",
    },
  }),
};

type Verdict = "equal" | "other codec" | "refused" | "DIFFERENT";

describe.skipIf(requireTools(...REAL_STORE_TOOLS))("the bytes of an image", { timeout: LIMIT_MS }, () => {
  let directory: string;
  let store: RealStore;
  let installed: ReturnType<typeof installForEverybody>;
  let surroundings: readonly Surroundings[];
  const references = new Map<string, Built>();
  const names = Object.keys(SPECS);
  let builds = 0;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-determinism-"));
    chmodSync(directory, 0o755);
    store = await realStore("small");
    installed = installForEverybody();
    const roots = ["bash", "coreutils"].map((name) => store.packages[name] as string);
    const { stdout } = expectOk(await runCli(["closure", ...roots, "--store-root", store.storeRoot]), "closure");
    writeFileSync(join(directory, "closure.json"), stdout);
    const { closure } = { closure: { roots, graph: "closure.json" } };
    for (const [i, name] of names.entries()) {
      const config = { Cmd: [`${roots[0]}/bin/bash`] };
      const more = name.startsWith("customised") ? { contents: roots } : {};
      writeFileSync(specFile(i), JSON.stringify({ name: "app", closure, config, ...more, ...SPECS[name] }));
    }
    const paths = [...new Set(String(stdout).match(/\/nix\/store\/[0-9a-z]{32}-[^"]+/g))];
    surroundings = await allSurroundings({ storeRoot: store.storeRoot, paths, directory }, FULL);
    for (const [i, name] of names.entries()) {
      const { status, stderr, layout } = await build({ name: "reference" }, i);
      expect([status, stderr]).toEqual([0, ""]);
      references.set(name, builtIn(layout));
    }
  }, LIMIT_MS);
  afterAll(() => {
    rmSync(installed?.directory, { recursive: true, force: true });
    rmSync(directory, { recursive: true, force: true });
  });

  const specFile = (index: number) => join(directory, `${index}.json`);

  function run(around: Surroundings, args: readonly string[]): Promise<CommandResult> {
    const [command, ...rest] = [...commandIn(around, installed.directory), ...args] as [string, ...string[]];
    const { user } = around;
    return runCommand(command, rest, {
      env: { PATH: process.env.PATH, HOME: directory, ...around.env },
      ...(user === undefined ? {} : { uid: user, gid: user }),
      timeoutMs: 600_000,
    });
  }

  async function build(around: Surroundings, index: number): Promise<CommandResult & { readonly layout: string }> {
    const { storeRoot = store.storeRoot, flags = ["--no-cache"], times = 1 } = around;
    for (let i = 1; ; i++) {
      const layout = mkdtempSync(join(directory, "layout-"));
      chmodSync(layout, 0o777);
      const to = `oci:${layout}/l:1`;
      builds++;
      const result = await run(around, [
        "build",
        specFile(index),
        "--store-root",
        storeRoot,
        "--to",
        to,
        "-q",
        ...flags,
      ]);
      if (i === times) return { ...result, layout: join(layout, "l") };
    }
  }

  async function compare(around: Surroundings, index: number): Promise<Verdict> {
    const { status, stderr, layout } = await build(around, index);
    try {
      if (status === 1 && stderr.startsWith("error: better-sqlite3 cannot be loaded")) return "refused";
      expect([status, stderr]).toEqual([0, ""]);
      const [built, reference] = [builtIn(layout), references.get(names[index] as string) as Built];
      if (built.files === reference.files) return "equal";
      if (built.imageId !== reference.imageId || built.codecs === reference.codecs) return "DIFFERENT";
      // The codec's name tells it, in the manifest and in the key of the cache; the contents are the same.
      const args = ["verify", `oci:${layout}:1`, specFile(index), "--store-root", store.storeRoot];
      const verified = await run({ name: "reference" }, args);
      return verified.status === 0 && String(verified.stdout).includes("packed by another codec")
        ? "other codec"
        : "DIFFERENT";
    } finally {
      rmSync(dirname(layout), { recursive: true, force: true });
    }
  }

  it("are the same whatever is around, or it is said what made them others", async () => {
    const rows: string[][] = [];
    const counts = new Map<string, number>();
    for (const around of surroundings) {
      if (around.missing !== undefined) {
        rows.push([around.name, ...names.map(() => `not tried: ${around.missing}`)]);
        continue;
      }
      const stop = around.start?.();
      const row: Verdict[] = [];
      try {
        for (const index of names.keys()) row.push(await compare(around, index));
      } finally {
        stop?.();
      }
      for (const verdict of row) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
      rows.push([around.name, ...row]);
    }
    const lines = [["built in", ...names], ["", ...names].map(() => "---"), ...rows].map(
      (row) => `| ${row.join(" | ")} |`,
    );
    const summary = [...counts].map(([verdict, count]) => `${count} ${verdict}`).join(", ");
    process.stdout.write(`${lines.join("\n")}\n${builds} builds: ${summary}\n`);
    expect(rows.filter((row) => row.includes("DIFFERENT"))).toEqual([]);
    // Something that is always left out would show nothing.
    const tried = new Set(["equal", ...(FULL ? ["other codec", "refused"] : [])]);
    for (const verdict of counts.keys()) expect(tried).toContain(verdict);
    expect(counts.get("equal")).toBeGreaterThanOrEqual(2 * names.length);
  });
});
