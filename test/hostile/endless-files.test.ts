import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseJson, parsePlainJson } from "../../src/core/json.js";
import { PROJECT } from "../support/cli.js";
import { HostilePlace } from "../support/hostile/run.js";

const place = new HostilePlace();
afterAll(() => place.close());
const GRAPH = join(PROJECT, "testdata/closures/registration.txt");

/** What `plan` says of a file that is too large, in little more memory than what may be read. */
async function tooLarge(args: readonly string[], maxMb: number): Promise<void> {
  const { status, stderr, stdout } = await place.run(["stream", ...args], { maxMb });
  expect(stderr).toMatch(/is larger than \d+ bytes/);
  expect(status).toBe(1);
  expect(stdout).toBe("");
}

function sparse(name: string, size: number): string {
  const file = place.path(name);
  writeFileSync(file, "{");
  truncateSync(file, size);
  return file;
}

describe("a file without end, or of gigabytes", { timeout: 120_000 }, () => {
  it("is no spec, and no list of rules", async () => {
    await tooLarge(["--closure", GRAPH, "--perms", "/dev/zero"], 700);
    await tooLarge(["--closure", GRAPH, "--perms", sparse("perms.json", 2 ** 40)], 200);
    await tooLarge([sparse("spec.json", 300 * 2 ** 20)], 200);
  });

  it("are no digests, on standard input either", async () => {
    const source = openSync("/dev/zero", "r");
    const { stderr, status } = spawnSync(process.execPath, [join(PROJECT, "bin/oci-nix.js"), "cache", "import", "-"], {
      stdio: [source, "ignore", "pipe"],
      encoding: "utf8",
    });
    closeSync(source);
    expect(stderr).toMatch(/standard input is larger than 268435456 bytes/);
    expect(status).toBe(1);
  });

  it("is no closure", async () => {
    await tooLarge(["--closure", "/dev/zero"], 1300);
  });
});

describe("a file whose size nobody can ask", { timeout: 60_000 }, () => {
  it("is read where it is a FIFO", async () => {
    for (const [flag, text] of [
      ["--closure", readFileSync(GRAPH, "utf8")],
      ["--perms", `[${" ".repeat(200_000)}]`],
    ] as const) {
      const fifo = place.path(`${flag.slice(2)}.fifo`);
      execFileSync("mkfifo", [fifo]);
      const source = place.path("text");
      writeFileSync(source, text);
      // Some at a time.
      const writer = spawn("dd", [`if=${source}`, `of=${fifo}`, "bs=1000"], { stdio: "ignore" });
      const closure = flag === "--closure" ? [] : ["--closure", GRAPH];
      const { stderr } = await place.run(["stream", ...closure, flag, fifo, "--store-root", place.path("none")]);
      // Comes after both were read.
      expect(stderr).toMatch(/store paths are missing/);
      await new Promise((resolve) => (writer.exitCode === null ? writer.once("exit", resolve) : resolve(undefined)));
    }
  });
});

describe("JSON of more values than memory holds", () => {
  it("is refused before they are there", () => {
    expect(() => parseJson(`[${"null,".repeat(5_000_000)}0]`, "input")).toThrow(/input has more than 5000000 values/);
    expect(() => parsePlainJson(`[${"[],".repeat(20_000_001)}0]`, "input")).toThrow(/more than 40000000 values/);
    expect(parsePlainJson(`["${",".repeat(39_999_000)}"]`, "input")).toHaveLength(1);
  });
});
