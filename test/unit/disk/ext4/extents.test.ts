import { describe, expect, it } from "vitest";
import { decodeExtents, encodeExtents, treeBlocks } from "../../../../src/disk/ext4/extents.js";

const extents = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ logical: 2 * i, start: 2 ** 33 + 10 * i, count: 1 }));

function encode(count: number) {
  let next = 1000;
  return encodeExtents(extents(count), 0, () => next++);
}

describe("encodeExtents", () => {
  it("has up to four extents in the inode", () => {
    for (const count of [0, 1, 4]) {
      const { root, blocks } = encode(count);
      expect(blocks).toEqual([]);
      expect(decodeExtents(root)).toEqual(extents(count));
    }
  });

  it("has more of them in blocks, and these in others where there are more than four", () => {
    const depth = (count: number) => encode(count).root.readUInt16LE(6);
    expect([5, 340, 341, 1360, 1361, 4 * 340 * 340, 4 * 340 * 340 + 1].map(depth)).toEqual([1, 1, 1, 1, 2, 2, 3]);
  });

  it("takes as many blocks as are planned for it", () => {
    for (const count of [0, 4, 5, 340, 341, 1360, 1361, 500_000]) {
      expect(encode(count).blocks).toHaveLength(treeBlocks(count));
    }
  });
});
