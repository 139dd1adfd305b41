import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { EXIT_STATUSES } from "../../src/cli/exit-status.js";
import type { ErrorCode } from "../../src/core/errors.js";
import { PROJECT } from "../support/cli.js";
import { type HostileCase, runCases } from "../support/hostile/cases.js";
import { HostilePlace } from "../support/hostile/run.js";
import { requireTools } from "../support/tools.js";

const SOURCE = join(PROJECT, "testdata/hostile");
/** Of what is no case. */
const OTHERS = ["README.md", "cases.json"];
/** For all cases together, on a machine that does much else. They take a few seconds. */
const WATCHDOG_MS = 300_000;
const MAX_MB = 400;

const all = JSON.parse(readFileSync(join(SOURCE, "cases.json"), "utf8")) as readonly HostileCase[];
const lacksTools = requireTools("qemu-img", "e2fsck", "fsck.fat");
const cases = all.filter(({ run }) => !run.startsWith("disk verify") || lacksTools === undefined);
const place = new HostilePlace();
afterAll(() => place.close());
const before = listing(SOURCE);
const { runs, signal } = await runCases(cases, SOURCE, place.directory, WATCHDOG_MS);

/** Names and sizes. */
function listing(directory: string): readonly string[] {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  return names.map((name) => `${name} ${statSync(join(directory, name)).size}`);
}

describe("hostile input that was found, or is known", () => {
  it("is a file of less than 64 KiB, with a line of its own", () => {
    const files = before.map((line) => line.split(" ")[0] as string);
    const listed = all.map(({ file }) => file);
    expect(new Set(listed).size).toBe(listed.length);
    expect(files.filter((file) => /\./.test(file) && !OTHERS.includes(file)).sort()).toEqual([...listed].sort());
    for (const file of listed) expect([file, statSync(join(SOURCE, file)).size < 65_536]).toEqual([file, true]);
  });

  it("does not end the program, nor keep it for ever", () => {
    expect([signal, cases[runs.length]?.file]).toEqual([null, undefined]);
  });

  it("leaves no temporary files, and writes nowhere else", () => {
    expect(readdirSync(place.path("temporary"))).toEqual([]);
    expect(readdirSync(place.path("home"))).toEqual([]);
    const names = readdirSync(place.directory).filter((name) => !/^(out|case)-\d+$/.test(name));
    expect(names.filter((name) => name !== "cache").sort()).toEqual(
      ["home", "lines.json", "stderr", "stdout", "temporary"].sort(),
    );
    expect(listing(SOURCE)).toEqual(before);
    for (const directory of ["/", "/etc", "/tmp", dirname(place.directory), PROJECT]) {
      expect(existsSync(join(directory, "evil"))).toBe(false);
    }
  });

  it.each(cases.map((one, n) => ({ ...one, n })))("$file: $what", ({ n, code, says }) => {
    const run = runs[n];
    if (run === undefined) throw new Error("it was not run to its end");
    const { status, stdout, stderr, made, polluted, peakMb } = run;
    const error = code === undefined ? undefined : (JSON.parse(stderr) as { code: string; message: string });
    expect(error?.code).toBe(code);
    expect(status).toBe(code === undefined ? 0 : statusOf(code));
    const said = [stdout, stderr, error?.message].join("\n").replace(/\\(["\\])/g, "$1");
    expect(said).toContain(says);
    expect(stderr).not.toMatch(/"internal"|\n +at /);
    expect(stderr.length).toBeLessThan(20_000);
    if (code !== undefined) expect(made).toEqual([]);
    expect(polluted).toEqual([]);
    expect(peakMb).toBeLessThan(MAX_MB);
  });
});

function statusOf(code: string): number {
  return EXIT_STATUSES.find(({ codes }) => codes.includes(code as ErrorCode))?.status ?? 1;
}
