import { describe, expect, it } from "vitest";
import { itemsOf, type PageData } from "../../../src/report/client/data.js";
import { layOut } from "../../../src/report/client/layout.js";

function pageOf(layers: readonly (readonly (number | null)[])[]): PageData {
  const sizes = layers.flat();
  let next = 0;
  return {
    storeDir: "/nix/store",
    paths: sizes.map((_, i) => `${i}-p`),
    sizes,
    chances: sizes.map(() => 0),
    references: sizes.map(() => []),
    roots: [0],
    layers: layers.map((layer) => ({ reason: "", size: 0, chance: 0, expected: 0, items: layer.map(() => next++) })),
    hasPrevious: false,
  };
}

const layOutPage = (layers: readonly (readonly (number | null)[])[]) => {
  const data = pageOf(layers);
  return layOut(data, itemsOf(data), 1000, 500);
};

describe("the map's layout", () => {
  it("puts every item on one tile, largest layer first", () => {
    const { tiles, frames } = layOutPage([[500], [3000, 2000], [1000]]);
    expect(tiles.map(({ items }) => items)).toEqual([[1], [2], [3], [0]]);
    expect(tiles.map(({ layer }) => layer)).toEqual([1, 1, 2, 0]);
    // A store path alone is its layer.
    expect(frames).toMatchObject([{ layer: 1, heading: 18 }]);
  });

  it("puts store paths and layers together that would be too small to see, where they can still be hit", () => {
    const layers = [[1_000_000, ...Array.from({ length: 5000 }, () => 1)], [3], [2], [null], [1]];
    const { tiles } = layOutPage(layers);
    expect(tiles.map(({ items, layer }) => [items.length, layer])).toEqual([
      [1, 0],
      [5000, 0],
      [4, undefined],
    ]);
    for (const { rect } of tiles) expect(rect.width * rect.height).toBeGreaterThan(200);
    expect(tiles.flatMap(({ items }) => items).sort((a, b) => a - b)).toEqual([...Array(5005).keys()]);
  });

  it("shows store paths of unknown size all the same", () => {
    expect(layOutPage([[null, null], [null]]).tiles).toHaveLength(3);
  });
});
