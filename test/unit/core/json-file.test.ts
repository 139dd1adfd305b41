import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readJsonFileSync, readTextFile, readTextFileSync } from "../../../src/core/json-file.js";

let directory: string;
const at = (name: string) => join(directory, name);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-json-file-"));
  writeFileSync(at("text"), "größer");
  writeFileSync(at("latin"), Buffer.from("größer", "latin1"));
  writeFileSync(at("huge"), "");
  truncateSync(at("huge"), 2 ** 40);
  execFileSync("mkfifo", [at("fifo")]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each([
  ["readTextFile", readTextFile],
  ["readTextFileSync", async (file: string) => readTextFileSync(file)],
])("%s", (_name, read) => {
  it("reads a file", async () => {
    expect(await read(at("text"))).toBe("größer");
  });

  it.each([
    ["none", "not-found", "cannot read"],
    [".", "unreadable", "cannot read"],
    ["latin", "invalid-input", "is not text in UTF-8"],
    ["huge", "limit", "is larger than 268435456 bytes"],
  ])("refuses %s", async (name, code, message) => {
    await expect(read(at(name))).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });
});

describe("a pipe", () => {
  it("is read to its end", async () => {
    const [text] = await Promise.all([readTextFile(at("fifo")), writeFile(at("fifo"), "piped")]);
    expect(text).toBe("piped");
  });

  it("is read no further than what is held in memory", async () => {
    await expect(readTextFile("/dev/zero", { max: 2 ** 20 })).rejects.toMatchObject({ code: "limit" });
  });

  it("is not waited for where nobody could interrupt it", () => {
    expect(() => readJsonFileSync(at("fifo"))).toThrow(/fifo: it is no regular file/);
    expect(() => readTextFileSync("/dev/zero")).toThrow("it is no regular file");
  });
});
