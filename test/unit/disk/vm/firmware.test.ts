import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { uefiArguments } from "../../../../src/disk/vm/firmware.js";

describe("the firmware of a guest", () => {
  let directory: string;
  const at = (name: string) => join(directory, name);
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "firmware-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("writes to a copy of its variables alone", () => {
    writeFileSync(at("vars"), "variables");
    const args = uefiArguments({ code: at("code"), variables: at("vars") }, at("copy"));
    expect(readFileSync(at("copy"), "utf8")).toBe("variables");
    expect(args.filter((arg) => arg.includes(at("code")))).toEqual([expect.stringContaining("readonly=on")]);
    expect(args.some((arg) => arg.includes(at("vars")))).toBe(false);
  });

  it("says what of it cannot be read", () => {
    expect(() => uefiArguments({ code: at("code"), variables: at("vars") }, at("copy"))).toThrow(
      expect.objectContaining({
        code: "unreadable",
        message: `cannot copy ${at("vars")}: no such file or directory (ENOENT)`,
      }),
    );
  });
});
