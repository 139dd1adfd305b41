import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { cacheDirectory } from "../../../src/cache/directory.js";

afterEach(() => vi.unstubAllEnvs());

describe("the cache directory", () => {
  it("is the one that was asked for, made absolute", () => {
    vi.stubEnv("XDG_CACHE_HOME", "/xdg");
    expect(cacheDirectory("/there")).toBe("/there");
    expect(cacheDirectory("here")).toBe(join(process.cwd(), "here"));
    expect(() => cacheDirectory("")).toThrow(expect.objectContaining({ code: "usage" }));
  });

  it("is in $XDG_CACHE_HOME where that is absolute, else in the home", () => {
    vi.stubEnv("HOME", "/home/somebody");
    vi.stubEnv("XDG_CACHE_HOME", "/xdg");
    expect(cacheDirectory()).toBe("/xdg/oci-nix");
    for (const ignored of ["", "relative/path", undefined]) {
      vi.stubEnv("XDG_CACHE_HOME", ignored);
      expect(cacheDirectory()).toBe("/home/somebody/.cache/oci-nix");
    }
  });

  it("is unknown where the home is not a path", () => {
    vi.stubEnv("XDG_CACHE_HOME", undefined);
    vi.stubEnv("HOME", "nowhere");
    expect(cacheDirectory()).toBeUndefined();
  });
});
