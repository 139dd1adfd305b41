import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJson } from "../../../src/nix/json-text.js";

describe("parseJson", () => {
  it.each([
    ['[1,\n  {"a": tru}]', 'unexpected "t" at line 2, column 9'],
    ['{"a": 1,}', 'unexpected "}" at line 1, column 9'],
    ["[1,]", 'unexpected "]" at line 1, column 4'],
    ["[1}", 'unexpected "}" at line 1, column 3'],
    ["[1 2]", 'unexpected "2" at line 1, column 4'],
    ['{"a" 1}', 'unexpected "1" at line 1, column 6'],
    ["{1: 2}", 'unexpected "1" at line 1, column 2'],
    ["[] []", 'unexpected "[" at line 1, column 4'],
    ["[],", 'unexpected "," at line 1, column 3'],
    ["[\n", "the text ends too early at line 2, column 1"],
    ['{"a":', "the text ends too early at line 1, column 6"],
    ["", "the text ends too early at line 1, column 1"],
  ])("says where %j goes wrong", (text, message) => {
    expect(() => parseJson(text, "graph.json")).toThrow(`graph.json is not valid JSON: ${message}`);
  });

  it("finds the place that Node's own message names, or the beginning of the word or string that is wrong there", () => {
    const json = fc.json({ maxDepth: 3 });
    fc.assert(
      fc.property(json, fc.nat(), fc.constantFrom("}", "]", ",", ":", "[", "{"), (text, n, added) => {
        const at = n % (text.length + 1);
        const broken = text.slice(0, at) + added + text.slice(at);
        const ours = failureOf(() => parseJson(broken, "f"));
        const nodes = failureOf(() => JSON.parse(broken));
        expect(ours === undefined).toBe(nodes === undefined);
        const [, position] = /position ([0-9]+)/.exec(nodes ?? "") ?? [];
        if (ours === undefined || position === undefined) return;
        const place = Number(/column ([0-9]+)$/.exec(ours)?.[1]) - 1;
        expect(broken.slice(place, Number(position))).toMatch(/^([\w.+-]*|".*)$/s);
        expect(place).toBeLessThanOrEqual(Number(position));
      }),
      { numRuns: 500 },
    );
  });
});

function failureOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
