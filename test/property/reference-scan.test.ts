import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReferenceScanner } from "../../src/nix/reference-scan.js";

const HASHES = ["0123456789abcdfghijklmnpqrsvwxyz", "zyxwvsrqpnmlkjihgfdcba9876543210", "a".repeat(32), "b".repeat(32)];

/** Text in which hashes stand whole, cut short and side by side. */
const fragment = fc.oneof(
  fc.constantFrom(...HASHES),
  fc.constantFrom(...HASHES).chain((hash) => fc.nat(31).map((length) => hash.slice(0, length))),
  fc.constantFrom(...HASHES).chain((hash) => fc.nat(31).map((length) => hash.slice(length))),
  fc.constantFrom("e", "o", "u", "t", "/", "-", "\0", "\xff", "A", "0", "z"),
  fc.string({ maxLength: 40 }),
);
const text = fc.array(fragment, { maxLength: 12 }).map((fragments) => Buffer.from(fragments.join(""), "latin1"));

describe("the search for hash parts", () => {
  it("finds what a search for each of them finds, however the bytes are cut into pieces", () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(400), { maxLength: 8 }), fc.subarray(HASHES), (bytes, cuts, wanted) => {
        const scanner = new ReferenceScanner(wanted);
        let from = 0;
        for (const cut of [...cuts].sort((a, b) => a - b)) {
          const to = Math.min(Math.max(cut, from), bytes.length);
          scanner.scan(bytes.subarray(from, to));
          from = to;
        }
        scanner.scan(bytes.subarray(from));
        expect([...scanner.found].sort()).toEqual(wanted.filter((hash) => bytes.includes(hash, 0, "latin1")).sort());
      }),
      { numRuns: 2000 },
    );
  });

  it("does not put the end of one file and the start of the next together", () => {
    const scanner = new ReferenceScanner(HASHES);
    scanner.scan(Buffer.from("a".repeat(20)));
    scanner.end();
    scanner.scan(Buffer.from("a".repeat(20)));
    expect(scanner.found.size).toBe(0);
    scanner.scan(Buffer.from("a".repeat(12)));
    expect([...scanner.found]).toEqual(["a".repeat(32)]);
  });
});
