import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { hashOfFrozenset, hashOfString, setOrder } from "../../../../src/layers/strategies/python-set-order.js";

// All values are what CPython 3.11 gives with PYTHONHASHSEED=0.

describe("the hash of a string", () => {
  it.each([
    ["", 0n],
    ["a", 4644417185603328019n],
    ["abcdefg", 7904145750247929094n],
    ["abcdefgh", 4574395652268504554n],
    ["/nix/store/01i8yxm4g6190gv2ki06914v4nc6ag5s-x=y", 6405564754720110855n],
  ])("of %j is CPython's", (text, hash) => {
    expect(hashOfString(text)).toBe(hash);
  });
});

describe("the hash of a frozenset", () => {
  it.each([
    [[], 133146708735736n],
    [["a"], 10588948935284562015n],
    [["a", "b"], 1679668661828516449n],
    [["b", "a"], 1679668661828516449n],
    [["a", "b", "abcdefgh", "/nix/store/x"], 7782267584151406035n],
  ])("of %j is CPython's", (members, hash) => {
    expect(hashOfFrozenset(members.map(hashOfString))).toBe(hash);
  });
});

describe("the order of a set", () => {
  it("is CPython's for sets of one size after the other", () => {
    const members = Array.from({ length: 20 }, (_, i) => hashOfString(`p${i}`));
    const hashes = members.map((_, i) => hashOfFrozenset(members.slice(0, i)));
    expect(setOrder(hashes)).toEqual([12, 10, 14, 3, 2, 17, 16, 4, 13, 15, 1, 11, 7, 19, 9, 8, 5, 0, 6, 18]);
  });

  it.each([
    [4, "845280786e5e924f8b5de5e6f054c3ee0c9b8c1b0d07114fecce22bb4f80322e"],
    [5, "3723be48d09d247ab22a95755eeb38eb2dbf9e1413fdb9eb02ae018c62f9c082"],
    [100, "12582d7746e9d14dc8d8ecef8bc126a0798a613d816208f59f825fbbb1058e8a"],
    [1000, "95f152659b0ae7ec9a676d5a7f80c59cf416c346556aad0bfc2c13bde5a9d6c3"],
  ])("is CPython's as the table grows to hold %d members", (size, digest) => {
    const order = setOrder(Array.from({ length: size }, (_, i) => hashOfFrozenset([hashOfString(`p${i}`)])));
    expect(createHash("sha256").update(order.join(",")).digest("hex")).toBe(digest);
  });
});
