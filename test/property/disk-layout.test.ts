import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OciNixError } from "../../src/core/errors.js";
import { type LayoutOptions, planLayout, rootRegion, TABLE_NAMES } from "../../src/disk/layout.js";

const MIB = 1024 * 1024;

const options: fc.Arbitrary<LayoutOptions> = fc.record(
  {
    table: fc.constantFrom(...TABLE_NAMES),
    rootBytes: fc.integer({ min: 1, max: 2 ** 36 }),
    bootEnd: fc.integer({ min: 9 * MIB, max: 2 ** 31 }),
    diskBytes: fc.integer({ min: 1, max: 2 ** 17 }).map((mib) => mib * MIB),
  },
  { requiredKeys: ["table", "rootBytes"] },
);

describe("a disk's layout", () => {
  it("is aligned, has room for all it needs and nothing overlaps, or is refused", () => {
    let planned = 0;
    fc.assert(
      fc.property(options, (each) => {
        let layout: ReturnType<typeof planLayout>;
        try {
          layout = planLayout(each);
        } catch (error) {
          expect(error).toBeInstanceOf(OciNixError);
          return;
        }
        planned++;
        if (each.diskBytes !== undefined) expect(layout.size).toBe(each.diskBytes);
        expect(rootRegion("", layout).size).toBeGreaterThanOrEqual(each.rootBytes);
        // Without a fixed size it is not larger than it has to be.
        if (each.diskBytes === undefined) expect(rootRegion("", layout).size - each.rootBytes).toBeLessThan(MIB);
        let end = layout.label === undefined ? 0 : MIB;
        for (const { start, size } of [...layout.partitions].sort((a, b) => a.start - b.start)) {
          expect(start).toBeGreaterThanOrEqual(end);
          expect(size).toBeGreaterThan(0);
          expect([start % MIB, size % MIB]).toEqual([0, 0]);
          end = start + size;
        }
        expect(end + (layout.label === "gpt" ? 33 * 512 : 0)).toBeLessThanOrEqual(layout.size);
      }),
      { numRuns: 1000 },
    );
    expect(planned).toBeGreaterThan(300);
  });
});
