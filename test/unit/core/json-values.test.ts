import { describe, expect, it } from "vitest";
import { parseJson, wrong } from "../../../src/core/json.js";

describe("the error of a value that is not what it must be", () => {
  it.each([
    ['"7"', '"7"'],
    ['""', '""'],
    ["3", "3"],
    ["1.50", "1.50"],
    ["true", "true"],
    ["null", "null"],
    ["[]", "an empty array"],
    ['["a"]', "an array"],
    ["{}", "an empty object"],
    ['{"a": 1}', "an object"],
    ['"a\\u0007\\n"', '"a\\u0007\\n"'],
  ])("says what was found: %s", (json, shown) => {
    const error = wrong("spec.json: uid", "a whole number", parseJson(json, "json"));
    expect(error.message).toBe(`spec.json: uid must be a whole number; found ${shown}`);
    expect(error.code).toBe("invalid-input");
  });

  it("repeats no endless text or number", () => {
    for (const found of [`"${"x".repeat(1e6)}"`, "1".repeat(1e6)]) {
      const { message } = wrong("a", "true", parseJson(found, "json"));
      expect(message.length).toBeLessThan(80);
      expect(message).toContain("…");
    }
  });

  it("says nothing of a value that is not there", () => {
    expect(wrong("a", "a string").message).toBe("a must be a string");
  });
});
