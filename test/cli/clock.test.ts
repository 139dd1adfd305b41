import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashCli, runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { unpackTar } from "../support/confs.js";
import { copySampleStore } from "../support/sample-store.js";

const PAST = Date.UTC(2001, 1, 3, 4, 5, 6);
const FUTURE = Date.UTC(2040, 5, 6, 7, 8, 9);

let directory: string;
let spec: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-clock-"));
  const store = copySampleStore(directory);
  spec = join(directory, "image.json");
  const files = [{ target: "/etc/motd", text: "hello\n" }];
  const closure = { graph: store.closureFile, storeRoot: store.storeRoot };
  writeFileSync(spec, JSON.stringify({ closure, files, helpers: ["fakeNss"], nixDatabase: {} }));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** An environment in which the clock stands at a time, in every thread. */
function clockAt(time: number, epoch?: string) {
  const clock = `globalThis.Date = class extends Date {
    constructor(...given) { super(...(given.length > 0 ? given : [${time}])); }
    static now() { return ${time}; }
  }`;
  const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(clock)}`, SOURCE_DATE_EPOCH: epoch };
  return { env };
}

const stream = (...flags: readonly string[]) => ["stream", spec, "--quiet", "--no-cache", ...flags];

async function hashAt(time: number, epoch: string | undefined, ...flags: readonly string[]): Promise<string> {
  const { sha256, size, stderr } = await hashCli(stream(...flags), clockAt(time, epoch));
  expect(stderr).toBe("");
  expect(size).toBeGreaterThan(0);
  return sha256;
}

describe("the clock", () => {
  it("has no part in an image, nor has SOURCE_DATE_EPOCH", async () => {
    const usual = await hashAt(PAST, undefined);
    expect(await hashAt(FUTURE, undefined)).toBe(usual);
    expect(await hashAt(FUTURE, "86400")).toBe(usual);
    const given = ["--created", "2026-01-02T03:04:05Z", "--mtime", "5"];
    expect(await hashAt(FUTURE, "86400", ...given)).toBe(await hashAt(PAST, undefined, ...given));
  });

  it.each(["created", "mtime"])("gets in by --%s now", async (flag) => {
    const then = await hashAt(PAST, undefined, `--${flag}`, "now");
    expect(await hashAt(FUTURE, undefined, `--${flag}`, "now")).not.toBe(then);
    expect(await hashAt(FUTURE, undefined, `--${flag}`, String(PAST / 1000))).toBe(then);
  });

  it("is replaced by SOURCE_DATE_EPOCH where it would get in", async () => {
    const flags = ["--created", "now", "--mtime", "now"];
    const replaced = await hashAt(PAST, "86400", ...flags);
    expect(await hashAt(FUTURE, "86400", ...flags)).toBe(replaced);
    const result = expectOk(await runCli(stream(...flags), clockAt(FUTURE, "86400")), "stream");
    const members = await unpackTar(result.stdout);
    const config = [...members].find(([name]) => /^[0-9a-f]{64}\.json$/.test(name));
    expect(JSON.parse(String(config?.[1])).created).toBe("1970-01-02T00:00:00Z");
  });
});
