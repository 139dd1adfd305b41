import { describe, expect, it } from "vitest";
import { parseByteSize } from "../../../src/core/byte-size.js";

describe("sizes in bytes", () => {
  it.each([
    ["0", 0],
    ["4096", 4096],
    ["500MB", 500_000_000],
    ["500 MB", 500_000_000],
    ["1GiB", 1_073_741_824],
    ["1.5kb", 1500],
    ["0.0001kB", 0],
    ["2TB", 2_000_000_000_000],
  ])("reads %s", (text, bytes) => expect(parseByteSize(text, "--size")).toBe(bytes));

  it.each([
    "",
    "MB",
    "-1",
    "1e3",
    "1M",
    "1.MB",
    "1  MB",
    " 1",
    "0x10",
    "1constructor",
    "999999999999999TB",
    "9007199254740993",
  ])("refuses %j", (text) => {
    expect(() => parseByteSize(text, "--size")).toThrow(
      expect.objectContaining({ code: "usage", message: `--size: ${JSON.stringify(text)} is not a size in bytes` }),
    );
  });
});
