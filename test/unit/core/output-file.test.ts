import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFile, writeOutputFile } from "../../../src/core/output-file.js";
import { temporaryName } from "../../../src/core/temporary.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-output-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("a new file", () => {
  it("is discarded without another error where it cannot be removed", () => {
    const file = createFile(directory);
    rmSync(file.path);
    mkdirSync(file.path);
    expect(() => file.discard()).not.toThrow();
    expect(() => file.discard()).not.toThrow();
  });
});

describe("a text file that is written", () => {
  it("takes the place of what those left who were killed", () => {
    const left = temporaryName(directory).replace(`-${process.pid}-`, `-${2 ** 22 + 1}-`);
    writeFileSync(left, "half a text");
    writeOutputFile(join(directory, "text"), "whole");
    expect(readdirSync(directory)).toEqual(["text"]);
    expect(readFileSync(join(directory, "text"), "utf8")).toBe("whole");
  });
});
