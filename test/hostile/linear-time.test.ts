import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { recordedLayers } from "../../src/build/recorded-store-paths.js";
import { importCache } from "../../src/cache/exchange.js";
import { nearest, OciNixError } from "../../src/core/errors.js";
import { compileRegex } from "../../src/core/regex.js";
import { withoutTrailing } from "../../src/core/trim.js";
import { globPaths } from "../../src/disk/glob.js";
import { parseClosure } from "../../src/nix/read-closure.js";
import { checkRefName } from "../../src/oci/reference.js";

/** What took minutes, gigabytes or the stack before. Quadratic time would be hours. */
const LONG = 2_000_000;

function errorOf(run: () => unknown): OciNixError {
  try {
    run();
  } catch (error) {
    if (error instanceof OciNixError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("input of megabytes", { timeout: 20_000 }, () => {
  it("is trimmed in linear time, whatever is repeated in it", () => {
    expect(withoutTrailing(`${"/".repeat(LONG)}x//`, "/")).toHaveLength(LONG + 1);
    const lines = `/nix/store/x${"\n".repeat(LONG)}x`;
    expect(errorOf(() => parseClosure(lines, { source: "input" })).message).toMatch(/line 3/);
  });

  it("is no slip of a known word", () => {
    expect(nearest("a".repeat(LONG), ["b".repeat(LONG), "abc"])).toBeUndefined();
    expect(nearest("abd", ["b".repeat(LONG), "abc"])).toBe("abc");
  });

  it("exhausts no regular expression's stack", () => {
    const path = "/a".repeat(8 * LONG);
    const annotations = { "dev.oci-nix.store-paths": "a", "dev.oci-nix.store-dir": path };
    expect(recordedLayers([{ annotations }])).toEqual([]);
    expect(errorOf(() => checkRefName("a-".repeat(8 * LONG), "input")).code).toBe("invalid-input");
  });

  it("is no regular expression", () => {
    expect(errorOf(() => compileRegex("a".repeat(LONG), "input")).code).toBe("limit");
  });

  it("is quoted in messages of a few kilobytes", () => {
    const { message, hint } = new OciNixError("limit", "a".repeat(LONG), { hint: "b".repeat(LONG) });
    expect(message.length).toBeLessThan(4001);
    expect(message).toMatch(/^a+… \(\d+ characters are left out\) …a+$/);
    expect(hint?.length).toBeLessThan(4001);
  });
});

describe("a pattern of a disk's contents", () => {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-hostile-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("takes time in proportion to its stars, not to the ways in which they could share a name", () => {
    writeFileSync(join(directory, "a".repeat(255)), "");
    const cpuMs = (stars: number) => {
      const before = process.cpuUsage();
      expect(globPaths(`${directory}/${"*a".repeat(stars)}b`)).toEqual([]);
      return process.cpuUsage(before).user / 1000;
    };
    // Backtracking takes years for fifty.
    cpuMs(50);
    const short = Math.max(cpuMs(5000), cpuMs(5000), 1);
    expect(cpuMs(50_000) / short).toBeLessThan(60);
    expect(globPaths(`${directory}/${"[".repeat(LONG)}`)).toEqual([]);
  });
});

describe("JSON of 100,000 levels", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);

  it("is an error in words where a size, a hash or a digest is expected", () => {
    const path = "/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a";
    for (const field of ["narSize", "narHash", "ca"]) {
      const graph = `[{"path": "${path}", "references": [], "${field}": {"x": ${deep}}}]`;
      expect(errorOf(() => parseClosure(graph, { source: "input" })).message).toMatch(
        /an object is not a|an array is not a/,
      );
    }
    for (const line of [
      `{"format": "oci-nix digests", "version": ${deep}}`,
      `{"format": "oci-nix digests", "version": 1, "layers": ${deep}}`,
    ]) {
      expect(errorOf(() => importCache("/nonexistent", line, "input")).message).toMatch(/an array/);
    }
  });
});

describe("a replacement", () => {
  it("that names what every object has names no group", () => {
    const regex = compileRegex("(a)", "input");
    expect(regex.replaceAll("a", "[$constructor$toString$1]")).toBe("[a]");
  });
});
