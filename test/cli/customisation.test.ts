import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { makeTreeStore } from "../support/trees.js";

const A = `/nix/store/${"a".repeat(32)}-a`;
const BASH = `/nix/store/${"b".repeat(32)}-bash-5.2`;

let directory: string;
let closure: { readonly graph: string; readonly storeRoot: string };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-customisation-"));
  const store = makeTreeStore({
    [A]: { "etc/": "", "etc/a": "1" },
    [BASH]: { "bin/": "", "bin/bash": ["#!", 0o555] },
  });
  closure = store.closure;
  return () => {
    store.remove();
    rmSync(directory, { recursive: true, force: true });
  };
});

const closureFlags = () => ["--closure", closure.graph, "--store-root", closure.storeRoot];

/** The names in the top layer of a streamed image. */
async function topLayerOf(...args: readonly string[]): Promise<readonly string[]> {
  const result = await runCli(["stream", "--quiet", ...args]);
  expect(result.stderr).toBe("");
  const archive = join(directory, "image.tar");
  writeFileSync(archive, result.stdout);
  execFileSync("tar", ["-xf", archive, "-C", directory]);
  const tar = (...more: readonly string[]) => execFileSync("tar", [...more], { encoding: "utf8", cwd: directory });
  const [{ Layers: layers }] = JSON.parse(tar("-xOf", archive, "manifest.json")) as [{ Layers: readonly string[] }];
  return tar("-tf", join(directory, layers.at(-1) as string))
    .trim()
    .split("\n");
}

async function errorOf(...args: readonly string[]) {
  const result = await runCli([...args, "--json"]);
  expect(result.stdout).toHaveLength(0);
  return { ...(JSON.parse(result.stderr) as { code: string; message: string; hint?: string }), status: result.status };
}

describe("the command line", () => {
  it("takes contents and helpers", async () => {
    const names = await topLayerOf(A, ...closureFlags(), "--contents", A, "--contents", BASH, "--helper", "binSh");
    expect(names).toEqual(["bin/", "bin/bash", "bin/sh", "etc/", "etc/a"]);
  });

  it("follows links to store paths in contents, copyToRoot and exclude", async () => {
    const link = join(directory, "result");
    symlinkSync(A, link);
    expect(await topLayerOf(A, ...closureFlags(), "--contents", link)).toEqual(["etc/", "etc/a"]);
    expect(await topLayerOf(A, ...closureFlags(), "--contents", join(link, "etc"))).toEqual(["a"]);
    expect(await topLayerOf(BASH, ...closureFlags(), "--copy-to-root", link)).toContain("etc/a");
    const without = await runCli(["stream", "--quiet", A, BASH, ...closureFlags(), "--exclude", link]);
    expect(without.stdout.includes(A.slice(1))).toBe(false);
  });

  it("takes the files of a spec from beside it, and flags over what it says", async () => {
    mkdirSync(join(directory, "etc"));
    writeFileSync(join(directory, "etc/motd"), "hello\n");
    const spec = join(directory, "image.json");
    const files = [{ target: "/etc/motd", path: "etc/motd" }];
    writeFileSync(spec, JSON.stringify({ closure, contents: [A], helpers: ["fakeNss"], files }));
    expect(await topLayerOf(spec)).toContain("etc/passwd");
    expect(await topLayerOf(spec, "--contents", BASH, "--helper", "binSh")).toEqual([
      "bin/",
      "bin/bash",
      "bin/sh",
      "etc/",
      "etc/motd",
    ]);
  });

  it("plans the layer without the store's files, and counts it", async () => {
    const away = ["--closure", closure.graph, "--store-root", join(directory, "away")];
    const flags = [...away, "--contents", A, "--helper", "binSh", "--nix-db", "--strategy", "single"];
    writeFileSync(
      closure.graph,
      JSON.stringify(
        [A, BASH].map((path) => ({ path, narHash: `sha256:${"0".repeat(52)}`, narSize: 1, references: [] })),
      ),
    );
    const result = await runCli(["plan", "--json", ...flags]);
    expect(result.stderr).toBe("");
    const { layers } = JSON.parse(result.stdout.toString()) as { readonly layers: readonly { reason: string }[] };
    expect(layers.map(({ reason }) => reason).slice(1)).toEqual(["the customisation layer", "the Nix database"]);
    expect(await errorOf("plan", ...flags, "--max-layers", "2")).toMatchObject({ code: "limit", status: 1 });
  });

  it.each([
    [["--helper", "binsh"], 2, /did you mean binSh/],
    [["--helper", "usrBinEnv"], 1, /needs bin\/env of coreutils/],
    [["--contents", "/etc"], 1, /neither a store path nor in one/],
  ])("refuses %j", async (flags, status, message) => {
    const error = await errorOf("stream", A, ...closureFlags(), ...flags);
    expect(error).toMatchObject({ status, message: expect.stringMatching(message) });
  });
});
