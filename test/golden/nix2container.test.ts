import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseJson } from "../../src/core/json.js";
import {
  formatNix2containerImage,
  formatNix2containerLayers,
  isNix2containerImage,
  type Nix2containerLayer,
  parseNix2containerImage,
  parseNix2containerLayers,
} from "../../src/transport/nix2container.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { hexSha256 } from "../support/confs.js";
import { makeStore, type TreeVectorEntry } from "../support/vectors.js";

interface Golden {
  readonly title: string;
  readonly files: Readonly<Record<string, unknown>>;
  readonly runs: readonly { readonly args: readonly [string, string, ...string[]]; readonly output: string }[];
}

const { storePaths, cases } = JSON.parse(
  readFileSync(new URL("../../testdata/nix2container/cases.json", import.meta.url), "utf8"),
) as {
  readonly storePaths: Readonly<Record<string, readonly TreeVectorEntry[]>>;
  readonly cases: readonly Golden[];
};

let store: ReturnType<typeof makeStore>;
let directory: string;

beforeAll(() => {
  store = makeStore(storePaths);
});
afterAll(() => store.remove());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-n2c-"));
  mkdirSync(join(directory, "tars"));
  return () => rmSync(directory, { recursive: true, force: true });
});

function writeFiles(files: Golden["files"]): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
  }
}

describe("nix2container's commands", () => {
  it.each(cases)("write nix2container's bytes: $title", async ({ files, runs }) => {
    writeFiles(files);
    for (const { args, output } of runs) {
      const root = args[0].startsWith("layers-") ? ["--store-root", store.root] : [];
      expectOk(await runCli(["n2c", ...args, ...root], { cwd: directory }), args.join(" "));
      expect(readFileSync(join(directory, args[1]), "utf8")).toBe(output);
    }
  });

  it("keep the layer whose digest they wrote", async () => {
    const { files, runs } = cases.find(({ title }) => title === "a layer kept as a file") as Golden;
    writeFiles(files);
    const [{ args }] = runs as unknown as [Golden["runs"][number]];
    expectOk(await runCli(["n2c", ...args, "--store-root", store.root], { cwd: directory }), "layers");
    const [layer] = JSON.parse(readFileSync(join(directory, args[1]), "utf8"));
    const tar = readFileSync(join(directory, layer["layer-path"]));
    expect([`sha256:${hexSha256(tar)}`, tar.length]).toEqual([layer.digest, layer.size]);
  });
});

describe("nix2container's files", () => {
  const outputs = cases.flatMap(({ title, runs }) => runs.map(({ output }, i) => ({ title, output, i })));

  it.each(outputs)("are the same when read and written: $title, $i", ({ output }) => {
    const json = parseJson(output, "the file");
    const again = isNix2containerImage(json)
      ? formatNix2containerImage(parseNix2containerImage(json, "the file"))
      : formatNix2containerLayers(parseNix2containerLayers(json, "the file") as readonly Nix2containerLayer[]);
    expect(again).toBe(output);
  });
});
