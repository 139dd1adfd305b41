import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Rect, squarify } from "../../../src/report/client/squarify.js";

const AREA: Rect = { x: 10, y: 20, width: 600, height: 400 };
const areaOf = ({ width, height }: Rect) => width * height;

describe("squarify", () => {
  it("lays out the example of the paper that it is from", () => {
    const rects = squarify([6, 6, 4, 3, 2, 2, 1], { x: 0, y: 0, width: 6, height: 4 });
    const rounded = rects.map(({ x, y, width, height }) => [x, y, width, height].map((n) => Number(n.toFixed(2))));
    expect(rounded).toEqual([
      [0, 0, 3, 2],
      [0, 2, 3, 2],
      [3, 0, 1.71, 2.33],
      [4.71, 0, 1.29, 2.33],
      [3, 2.33, 1.2, 1.67],
      [4.2, 2.33, 1.2, 1.67],
      [5.4, 2.33, 0.6, 1.67],
    ]);
  });

  it("gives areas in proportion to weights, inside the whole and without overlaps", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 60 }), (weights) => {
        const rects = squarify(weights, AREA);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        expect(rects).toHaveLength(weights.length);
        for (const [i, rect] of rects.entries()) {
          expect(areaOf(rect) / areaOf(AREA)).toBeCloseTo((weights[i] as number) / total, 6);
          expect(rect.x).toBeGreaterThanOrEqual(AREA.x - 1e-6);
          expect(rect.y).toBeGreaterThanOrEqual(AREA.y - 1e-6);
          expect(rect.x + rect.width).toBeLessThanOrEqual(AREA.x + AREA.width + 1e-6);
          expect(rect.y + rect.height).toBeLessThanOrEqual(AREA.y + AREA.height + 1e-6);
          for (const other of rects.slice(0, i)) {
            const overlapX = Math.min(rect.x + rect.width, other.x + other.width) - Math.max(rect.x, other.x);
            const overlapY = Math.min(rect.y + rect.height, other.y + other.height) - Math.max(rect.y, other.y);
            expect(Math.min(overlapX, overlapY)).toBeLessThan(1e-6);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("has no rectangles of nothing, and copes with no room", () => {
    expect(squarify([], AREA)).toEqual([]);
    expect(squarify([1, 2], { x: 0, y: 0, width: 0, height: 10 }).every((rect) => areaOf(rect) === 0)).toBe(true);
  });
});
