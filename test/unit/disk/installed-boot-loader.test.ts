import { describe, expect, it } from "vitest";
import { checkInstalled } from "../../../src/disk/installed-boot-loader.js";
import type { ChangedEntry } from "../../../src/disk/vm/changes.js";

describe("a boot loader that a system installs", () => {
  const nothing = { root: [], esp: [], boot: [], embed: undefined };
  const spec = { toplevel: "/nix/store/abc-system" };
  const entry = (type: "directory" | "file") => ({ type }) as ChangedEntry;

  it("is an error where it is neither code nor a file", () => {
    for (const parts of [nothing, { ...nothing, root: [entry("directory")] }]) {
      expect(() => checkInstalled(parts, spec)).toThrow(
        "the boot loader's installer of /nix/store/abc-system installed nothing",
      );
    }
  });

  it.each([
    { root: [entry("file")] },
    { esp: [{ path: "/a", source: "/a" }] },
    { boot: [{ path: "/a", source: "/a" }] },
    { embed: () => {} },
  ])("is taken where there is one: %j", (parts) => {
    expect(() => checkInstalled({ ...nothing, ...parts }, spec)).not.toThrow();
  });
});
