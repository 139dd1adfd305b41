import { describe, expect, it } from "vitest";
import { BlockAllocator } from "../../../../src/disk/ext4/allocator.js";
import { setBits } from "../../../../src/disk/ext4/bits.js";

describe("BlockAllocator", () => {
  it("gives out free blocks in ascending order, as many as follow each other", () => {
    const used = Buffer.alloc(8);
    setBits(used, 0, 3);
    setBits(used, 10, 1);
    setBits(used, 40, 20);
    const allocator = new BlockAllocator(used);
    expect(allocator.take(5)).toEqual({ start: 3, count: 5 });
    expect(allocator.take(5)).toEqual({ start: 8, count: 2 });
    expect(allocator.take(100)).toEqual({ start: 11, count: 29 });
    expect(allocator.take(100)).toEqual({ start: 60, count: 4 });
    expect(used.equals(Buffer.alloc(8, 0xff))).toBe(true);
  });

  it("says that there are none left", () => {
    const allocator = new BlockAllocator(Buffer.alloc(1));
    allocator.take(8);
    expect(() => allocator.take(1)).toThrow(expect.objectContaining({ code: "limit" }));
  });
});
