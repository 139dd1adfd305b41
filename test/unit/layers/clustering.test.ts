import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cluster, type Item } from "../../../src/layers/clustering.js";

/** What layers of several store paths cost more, as docs/layers.md says. */
const COMPANY = 0.05;

interface Part {
  readonly size: number;
  readonly causes: readonly number[];
  readonly isThere?: boolean;
}

const itemOf = ({ size, causes, isThere = false }: Part): Item => {
  const set = new Uint32Array(1);
  for (const cause of causes) set[0] = (set[0] as number) | (1 << cause);
  return { size, members: 1, causes: set, isThere };
};

/** The groups, each by the indexes of its items. */
function grouped(parts: readonly Part[], rates: readonly number[], most: number): readonly (readonly number[])[] {
  const groupOf = cluster(parts.map(itemOf), Float64Array.from(rates), most);
  return [...new Set(groupOf)].map((group) => parts.flatMap((_, i) => (groupOf[i] === group ? [i] : [])));
}

function costOf(parts: readonly Part[], rates: readonly number[], groups: readonly (readonly number[])[]): number {
  return groups.reduce((sum, group) => {
    const members = group.map((i) => parts[i] as Part);
    const causes = new Set(members.flatMap((part) => part.causes));
    const rate = [...causes].reduce((total, cause) => total + (rates[cause] as number), 0);
    const size = members.reduce((total, part) => total + part.size, 0);
    return sum + size * (rate + (group.length > 1 ? COMPANY : 0));
  }, 0);
}

describe("clustering", () => {
  it("puts together what changes for the same causes", () => {
    const parts = [
      { size: 50, causes: [0] },
      { size: 50, causes: [1] },
      { size: 50, causes: [0] },
      { size: 50, causes: [1] },
    ];
    expect(grouped(parts, [0.5, 0.5], 2)).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  it("leaves what is large alone, though it would change no more often in company", () => {
    const parts = [
      { size: 100, causes: [0] },
      { size: 1, causes: [0] },
      { size: 1, causes: [1] },
    ];
    expect(grouped(parts, [0.01, 0.01], 2)).toEqual([[0], [1, 2]]);
  });

  it("merges what is there only if that pays within the releases to come", () => {
    const cold = { size: 100, causes: [0] };
    const hot = [
      { size: 10, causes: [1] },
      { size: 10, causes: [2] },
    ];
    const rates = [0.001, 0.6, 0.6];
    expect(grouped([cold, cold, ...hot], rates, 3)).toEqual([[0, 1], [2], [3]]);
    const there = { ...cold, isThere: true };
    expect(grouped([there, there, ...hot], rates, 3)).toEqual([[0], [1], [2, 3]]);
    const dear = hot.map((part) => ({ ...part, size: 200 }));
    expect(grouped([there, there, ...dear], rates, 3)).toEqual([[0, 1], [2], [3]]);
  });

  it("does not push again what is there for a little better place of something else", () => {
    const parts = [
      { size: 100, causes: [0], isThere: true },
      { size: 1, causes: [0] },
      { size: 50, causes: [1] },
    ];
    expect(grouped(parts, [0.1, 0.01], 2)).toEqual([[0], [1, 2]]);
  });

  it("makes as few groups as it has to, and none that a single item would better leave", () => {
    const rates = fc.array(fc.double({ min: 0.001, max: 0.5, noNaN: true }), { minLength: 8, maxLength: 8 });
    const part = fc.record({
      size: fc.integer({ min: 1, max: 1000 }),
      causes: fc.uniqueArray(fc.nat({ max: 7 }), { minLength: 1, maxLength: 5 }),
    });
    const inputs = fc.tuple(fc.array(part, { minLength: 1, maxLength: 12 }), rates, fc.integer({ min: 1, max: 12 }));
    fc.assert(
      fc.property(inputs, ([parts, rates, most]) => {
        const groups = grouped(parts, rates, most);
        expect(groups).toHaveLength(Math.min(parts.length, most));
        const cost = costOf(parts, rates, groups);
        for (const [from, group] of groups.entries()) {
          for (const item of group.length > 1 ? group : []) {
            for (const to of groups.keys()) {
              if (to === from) continue;
              const moved = groups.map((each, i) => {
                if (i === from) return each.filter((other) => other !== item);
                return i === to ? [...each, item] : each;
              });
              expect(costOf(parts, rates, moved)).toBeGreaterThan(cost * (1 - 1e-6));
            }
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
