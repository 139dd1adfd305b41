import { describe, expect, it } from "vitest";
import { mergeImages } from "../../../src/build/merge.js";
import { imageOf, layerOf, tarOf } from "../examine/fixtures.js";

const image = (content: string, names: readonly string[]) => imageOf([layerOf(tarOf(["f", content]))], { names });
const merge = (...sources: readonly (readonly ReturnType<typeof image>[])[]) =>
  mergeImages(sources.map((images, i) => ({ title: `place ${i + 1}`, images })));

describe("merged images", () => {
  it("come in the order of their places, those without names too", () => {
    const [a, b, c, d] = [image("a", ["a:1"]), image("b", []), image("c", ["c:1", "c:2"]), image("d", [])];
    expect(merge([a, b], [c], [d])).toEqual([a, b, c, d]);
  });

  it("are one where they have one config: the first, with the names of all", () => {
    const first = image("a", ["a:1"]);
    const packed = imageOf([layerOf(tarOf(["f", "a"]), { packed: "gzip" })], { names: ["a:2"] });
    expect(merge([first], [packed, image("a", [])])).toEqual([{ ...first, names: ["a:1", "a:2"] }]);
  });

  it("may not have the same name, however it is spelled, and the places are told", () => {
    expect(() => merge([image("a", ["app:1"])], [image("b", ["docker.io/library/app:1"])])).toThrow(
      "docker.io/library/app:1 is in place 1 and in place 2, and they are different images",
    );
    expect(() => merge([image("a", ["app:1"])], [image("a", ["app:1"])])).toThrow(
      /app:1 is in place 1 and in place 2$/,
    );
    expect(() => merge([image("a", ["app:1"]), image("b", ["app:1"])])).toThrow("app:1 is twice in place 1");
  });
});
