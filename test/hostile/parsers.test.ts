import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { takes } from "../support/hostile/outcome.js";
import { hostileParsers } from "../support/hostile/parsers.js";

/** Cases that a parser is given; `npm run test:hostile` gives more. */
const CASES = Number(process.env.OCI_NIX_HOSTILE_CASES ?? 250);
/** Of one parser's cases, where a longer campaign is asked for. */
const MAX_RSS = 1 << 30;

/** In the report of a failure as text. */
function shown(bytes: Buffer): { readonly bytes: Buffer; readonly [fc.toStringMethod]: () => string } {
  const text = bytes.toString("latin1");
  return { bytes, [fc.toStringMethod]: () => JSON.stringify(text.length <= 1500 ? text : `${text.slice(0, 1500)}…`) };
}

const { parsers, close } = await hostileParsers();
afterAll(close);

describe("of what hostile input is made", () => {
  it.each(parsers)("something is taken by what reads $title", { timeout: 60_000 }, async ({ seeds, run }) => {
    const taken: Buffer[] = [];
    for (const seed of seeds) if (await takes(() => run(seed))) taken.push(seed);
    expect(taken).not.toHaveLength(0);
  });
});

describe("whatever it is given", () => {
  it.each(parsers)(
    "what reads $title gives a value or an error in words",
    { timeout: 3_600_000 },
    async ({ inputs, run, share }) => {
      let taken = 0;
      await fc.assert(
        fc.asyncProperty(inputs.map(shown), async ({ bytes }) => {
          if (await takes(() => run(bytes))) taken++;
        }),
        {
          numRuns: Math.ceil((CASES * share) / 1000),
          ...(process.env.OCI_NIX_HOSTILE_SEED ? { seed: Number(process.env.OCI_NIX_HOSTILE_SEED) } : {}),
        },
      );
      expect(process.memoryUsage.rss()).toBeLessThan(MAX_RSS);
      if (process.env.OCI_NIX_HOSTILE_CASES) console.info(`${taken} taken`);
    },
  );
});
