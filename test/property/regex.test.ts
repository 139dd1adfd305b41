import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "../../src/core/byte-string.js";
import { compileRegex, quoteRegex } from "../../src/core/regex.js";

const piece = fc.constantFrom(
  ..."a|b|c|/|é|-|.|.*|^|$|a+|b*|c?|a{2}|a{,2}|(ab)|(a|b)|[ab]|[^a]|\\.|\\d|\\b|\\/|\\|(?i)|(?:b)|\n|{|}|\\x41|\\pL".split(
    "|",
  ),
  "|",
  "\\|",
);
const subject = fc.array(fc.constantFrom("a", "b", "c", "/", "é", "-", ".", "\n", "A", "1", "|", "{", "}"), {
  maxLength: 8,
});

describe("a compiled regex", () => {
  it("tests by the quick way what a search finds", () => {
    let compiled = 0;
    let matched = 0;
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 6 }),
        fc.array(subject, { minLength: 1, maxLength: 20 }),
        (pieces, subjects) => {
          const pattern = pieces.join("");
          let reference: RE2JS;
          try {
            reference = RE2JS.compile(pattern);
          } catch {
            expect(() => compileRegex(pattern, "here")).toThrow("is not an RE2 regular expression");
            return;
          }
          compiled++;
          const regex = compileRegex(pattern, "here");
          for (const text of subjects.map((characters) => characters.join(""))) {
            const expected = reference.matcher(text).find();
            if (expected) matched++;
            expect({ pattern, text, found: regex.test(encodeUtf8(text)) }).toEqual({ pattern, text, found: expected });
          }
        },
      ),
      { numRuns: 5000 },
    );
    expect(compiled).toBeGreaterThan(1000);
    expect(matched).toBeGreaterThan(1000);
  });

  it("matches nothing but the text that was quoted", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (text, other) => {
        const regex = compileRegex(`^${quoteRegex(text)}$`, "here");
        expect(regex.test(encodeUtf8(text))).toBe(true);
        expect(regex.test(encodeUtf8(other))).toBe(other === text);
        expect(regex.replaceAll(encodeUtf8(text), "")).toBe("");
      }),
    );
  });
});
