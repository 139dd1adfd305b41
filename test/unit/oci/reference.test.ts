import { describe, expect, it } from "vitest";
import { checkName, checkTag } from "../../../src/oci/reference.js";

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
