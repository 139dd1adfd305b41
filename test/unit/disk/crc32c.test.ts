import { describe, expect, it } from "vitest";
import { crc32c } from "../../../src/disk/crc32c.js";

const ONES = 0xffffffff;

describe("crc32c", () => {
  it("gives the values of RFC 3720 where begin and end are complemented", () => {
    const of = (bytes: Uint8Array) => (crc32c(ONES, bytes) ^ ONES) >>> 0;
    expect(of(Buffer.from("123456789"))).toBe(0xe3069283);
    expect(of(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(of(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(of(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e);
  });

  it("goes on from the checksum of what comes before, wherever it is cut", () => {
    const bytes = Buffer.from("the quick brown fox jumps over the lazy dog");
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(crc32c(crc32c(ONES, bytes, 0, cut), bytes, cut)).toBe(crc32c(ONES, bytes));
    }
  });
});
