import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";

let directory: string;
let store: SampleStore;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-verify-"));
  store = copySampleStore(directory);
  writeFileSync(
    join(directory, "app.json"),
    JSON.stringify({
      name: "app",
      closure: { graph: store.closureFile, storeRoot: store.storeRoot },
      compression: "zstd",
    }),
  );
  expectOk(await run("build", "app.json", "--to", "oci:layout:1"), "build");
  expectOk(await run("copy", "oci:layout:1", "docker-archive:app.tar", "--compression", "gzip"), "copy");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const run = (...args: readonly string[]) => runCli(args, { cwd: directory, env: { XDG_CACHE_HOME: directory } });
const outputOf = ({ stdout }: CommandResult) => String(stdout);
const jsonOf = (result: CommandResult) => JSON.parse(outputOf(result));

function expectError(result: CommandResult, status: number, message: string): void {
  expect(result.stderr).toContain(message);
  expect(result.status).toBe(status);
}

describe("verify", { timeout: 60_000 }, () => {
  it("ends with 0 where the image is what the input gives, wherever it is and however it is packed", async () => {
    const before = readdirSync(directory);
    const layout = expectOk(await run("verify", "oci:layout:1", "app.json"), "verify");
    expect(outputOf(layout)).toBe("layer   = 5 layers are the same\nthe image is what the input gives\n");
    const flags = ["--store-root", store.storeRoot];
    const archive = expectOk(await run("verify", "docker-archive:app.tar", store.closureFile, ...flags), "verify");
    expect(outputOf(archive)).toBe(outputOf(layout));
    const exact = expectOk(await run("verify", "oci:layout:1", "app.json", "--exact", "--json"), "verify");
    expect(jsonOf(exact)).toMatchObject({ verified: true, exact: true, layersRead: true, missing: [], causes: [] });
    // Nothing is written, no cache either.
    expect(readdirSync(directory)).toEqual(before);
  });

  it("takes an image and a closure graph from standard input", async () => {
    const flags = ["--store-root", store.storeRoot];
    const image = await runCli(["verify", "-", store.closureFile, ...flags], {
      stdin: { file: join(directory, "app.tar") },
    });
    expect(outputOf(expectOk(image, "verify"))).toContain("the image is what the input gives\n");
    const graph = await runCli(["verify", `oci:${join(directory, "layout")}:1`, "-", ...flags], {
      stdin: { file: store.closureFile },
    });
    expect(outputOf(expectOk(graph, "verify"))).toContain("the image is what the input gives\n");
  });

  it("ends with 3 where something is not the same, with what, and why", async () => {
    const result = await run("verify", "oci:layout:1", "app.json", "--mtime", "5", "--env", "A=1");
    expect([result.status, result.stderr]).toEqual([3, ""]);
    const diffId = "sha256:[0-9a-f]{64}";
    const lines = outputOf(result).split("\n");
    expect(lines[0]).toBe('config  - config.Env.A = "1"');
    expect(lines[1]).toMatch(new RegExp(`^layer   ~ 1: ${diffId} -> ${diffId}$`));
    expect(lines[2]).toBe("layer   ~ 1: the archives differ from byte 146 on, in the header of nix/: mtime 5 -> 1");
    expect(lines).toContain("file    ~ /nix: mtime 5 -> 1");
    expect(lines.slice(-3)).toEqual([
      "likely  files are of the time 1 in the image, and of 5 by the input, in seconds since 1970: another --mtime",
      "the image is not what the input gives",
      "",
    ]);
  });

  it("finds other packed bytes with --exact alone", async () => {
    const flags = ["--exact", "--compression", "gzip"];
    const result = await run("verify", "oci:layout:1", "app.json", ...flags, "--json");
    expect(result.status).toBe(3);
    expect(jsonOf(result)).toMatchObject({
      verified: false,
      config: [],
      layers: Array(5).fill({ status: "same", samePacking: false }),
    });
    const text = outputOf(await run("verify", "oci:layout:1", "app.json", ...flags));
    expect(text).toMatch(/^layer {3}~ 5: sha256:[0-9a-f]{64}, packed otherwise: zstd:3 /m);
    expect(text).toMatch(/^manifest ~ sha256:/m);
    expect(text).toMatch(/the image is not what the input gives, though its files are\n$/);
  });

  it("reads the layers, so that other bytes behind a digest are found, unless it is told not to", async () => {
    expectOk(await run("copy", "oci:layout:1", "oci:bad:1", "--compression", "none", "--no-cache"), "copy");
    const blobs = join(directory, "bad", "blobs", "sha256");
    const [name = ""] = readdirSync(blobs).filter((blob) => readFileSync(join(blobs, blob)).includes("Hello"));
    const bytes = readFileSync(join(blobs, name));
    bytes.write("Hallo", bytes.indexOf("Hello"));
    chmodSync(join(blobs, name), 0o644);
    writeFileSync(join(blobs, name), bytes);
    const result = await run("verify", "oci:bad:1", "app.json");
    expect(result.status).toBe(3);
    const file = "nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0/bin/hello";
    const lines = outputOf(result).split("\n");
    expect(lines[0]).toMatch(/^layer {3}! 2: .* but the manifest says sha256:/);
    expect(lines.slice(1)).toEqual([
      `layer   ~ 2: the archives differ from byte 2785 on, in the contents of ${file}`,
      "layer   = 4 layers are the same",
      "files changed: 1, +0 B",
      `file    ~ /${file}: content`,
      "likely  all store paths of layer 2 have their NAR hashes: the image was changed, or is made of another build of them",
      "the image is not what the input gives",
      "",
    ]);
    const believed = expectOk(await run("verify", "oci:bad:1", "app.json", "--no-read"), "verify");
    expect(outputOf(believed)).toMatch(/, if its layers are what it says they are: they were not read\n$/);
  });

  it("believes the digest cache only where it is told to", async () => {
    const cache = ["--cache-dir", join(directory, "cache")];
    expectOk(await run("build", "app.json", "--to", "oci:cached:1", ...cache), "build");
    expectOk(await run("verify", "oci:cached:1", "app.json", "--trust-cache", ...cache), "verify");
  });

  it.each([
    [["verify"], 2, "no image is named"],
    [["verify", "oci:layout:1"], 2, "nothing to build: no input is given"],
    [["verify", "-", "-"], 2, "standard input is named twice"],
    [["verify", "-", "x", "--closure", "-"], 2, "standard input is named twice"],
    [["verify", "app.json", "oci:layout:1"], 2, '"app.json" names no transport'],
    [["verify", "oci:absent", "app.json"], 1, "cannot read absent: no such file or directory"],
    [["verify", "oci:layout:1", "absent.json"], 1, "there is no such file"],
    [["verify", "oci:layout:1", "app.json", "--compression", "gzip"], 2, "--compression is for --exact"],
    [["verify", "oci:layout:1", "app.json", "--cache-dir", "x"], 2, "--cache-dir is for --trust-cache"],
    [["verify", "oci:layout:1", "app.json", "--exact", "--trust-cache"], 2, "contradicts it"],
    [["verify", "oci:layout:1", "app.json", "--exact", "--compression", "lz4"], 2, "names no compression"],
  ])("says what is wrong with a call: %j", async (args, status, message) => {
    expectError(await run(...args), status, message);
  });
});
