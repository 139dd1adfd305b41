import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirectoryBlocks, emptyFill, fillWith } from "../../../../src/disk/ext4/directory.js";

describe("DirectoryBlocks", () => {
  it("takes as many blocks as were counted beforehand, and records fill each of them", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 200 }), (lengths) => {
        const fill = emptyFill();
        const directory = new DirectoryBlocks(2, 2);
        for (const length of lengths) {
          fillWith(fill, length);
          directory.add(12, "n".repeat(length), "file");
        }
        const blocks = directory.finish(0, 0);
        expect(blocks).toHaveLength(fill.blocks);
        let names = 0;
        for (const block of blocks) {
          let at = 0;
          for (; at < block.length; at += block.readUInt16LE(at + 4)) if (block.readUInt32LE(at) !== 0) names++;
          expect(at).toBe(block.length);
        }
        expect(names).toBe(lengths.length + 2);
      }),
    );
  });
});
