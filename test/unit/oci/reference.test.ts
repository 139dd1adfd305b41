import { describe, expect, it } from "vitest";
import { checkName, checkTag, familiarName, fullName } from "../../../src/oci/reference.js";

describe("image references", () => {
  it.each(["app", "team/app", "registry.example:5000/team/app", "localhost/a__b", "a-b.c_d/e", "[::1]:5000/x"])(
    "takes %s",
    (name) => {
      expect(checkName(name, "name")).toBe(name);
    },
  );
  it("takes a tag", () => {
    expect(checkTag("1.0_x-Y", "tag")).toBe("1.0_x-Y");
  });
  it.each(["", "App", "a//b", "/a", "a/", "a:b", "a b", "a___b", "a\n", "-a", "a@b", "a".repeat(256)])(
    "refuses the name %j",
    (name) => {
      expect(() => checkName(name, "name")).toThrow(/is not an image name/);
    },
  );
  it.each(["", ".a", "-a", "a b", "a/b", "a\n", "é", "a".repeat(129)])("refuses the tag %j", (tag) => {
    expect(() => checkTag(tag, "tag")).toThrow(/is not an image tag/);
  });
});

describe("an image's name in full", () => {
  it.each([
    ["app:1", "docker.io/library/app:1"],
    ["team/app:1", "docker.io/team/app:1"],
    ["library/team/app:1", "docker.io/library/team/app:1"],
    ["localhost/app:1", "localhost/app:1"],
    ["registry.example/app:1", "registry.example/app:1"],
    ["localhost:5000/a/b:1", "localhost:5000/a/b:1"],
    ["1", "1"],
  ])("%s is %s, and short again", (short, full) => {
    expect(fullName(short)).toBe(full);
    expect(familiarName(full)).toBe(short);
  });
});
