import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Child, DOTS, fillWith, plainBlocks, recordLength } from "../../../../src/disk/ext4/directory.js";
import { indexedBlockCount, indexedBlocks } from "../../../../src/disk/ext4/directory-index.js";

const dots: readonly Child[] = [".", ".."].map((name) => ({ inode: 2, name, type: "directory" }));
const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 255 }), fc.constant(255)), { maxLength: 300 });
const childrenOf = (lengths: readonly number[]): readonly Child[] =>
  lengths.map((length, i) => ({ inode: 12 + i, name: `${i}`.padEnd(length, "n").slice(0, 255), type: "file" }));

/** Names found by whoever reads record after record; each block is full of them. */
function namesIn(blocks: readonly Buffer[]): readonly string[] {
  return blocks.flatMap((block) => {
    const names: string[] = [];
    let at = 0;
    for (; at < block.length; at += block.readUInt16LE(at + 4)) {
      const length = block[at + 6] as number;
      if (block.readUInt32LE(at) !== 0) names.push(block.toString("latin1", at + 8, at + 8 + length));
    }
    expect(at).toBe(block.length);
    return names;
  });
}

describe("the blocks of a directory", () => {
  it("are as many as were counted beforehand", () => {
    fc.assert(
      fc.property(lengths, (lengths) => {
        const children = childrenOf(lengths);
        const fill = { blocks: 1, used: DOTS };
        for (const { name } of children) fillWith(fill, name.length);
        const blocks = plainBlocks(dots, children, 0, 0);
        expect(blocks).toHaveLength(fill.blocks);
        expect(namesIn(blocks)).toEqual([".", "..", ...children.map(({ name }) => name)]);
      }),
    );
  });

  it("are as many as were counted beforehand where they have an index, and can be read without it", () => {
    fc.assert(
      fc.property(
        lengths.filter(({ length }) => length > 0),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        (lengths, seed) => {
          const children = childrenOf(lengths);
          const blocks = indexedBlocks(dots, children, 0, Buffer.from(seed));
          const bytes = children.reduce((sum, { name }) => sum + recordLength(name.length), 0);
          expect(blocks).toHaveLength(indexedBlockCount(bytes));
          expect([...namesIn(blocks)].sort()).toEqual([".", "..", ...children.map(({ name }) => name)].sort());
        },
      ),
    );
  });
});
