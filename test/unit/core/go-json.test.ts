import { describe, expect, it } from "vitest";
import { formatGoJson, sortedAsInGo } from "../../../src/core/go-json.js";
import { parseJson } from "../../../src/core/json.js";
import { goTimestamp } from "../../../src/core/timestamp.js";

describe("formatGoJson", () => {
  it.each([
    ["<>&\u2028\u2029", '"\\u003c\\u003e\\u0026\\u2028\\u2029"'],
    ['"\\/\b\f\n\r\t\u0001\u007fé😀', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u007fé😀"'],
    ["\ud800x", '"\ufffdx"'],
  ])("escapes %j as Go does", (text, expected) => {
    expect(formatGoJson(text)).toBe(expected);
  });

  it("indents all but what is empty", () => {
    const text = '{\n\t"a": [\n\t\t1,\n\t\t{}\n\t],\n\t"b": {\n\t\t"c": []\n\t},\n\t"d": null,\n\t"443": 1.50\n}';
    expect(formatGoJson(parseJson(text, "text"), "\t")).toBe(text);
    expect(formatGoJson(parseJson(text, "text"))).toBe('{"a":[1,{}],"b":{"c":[]},"d":null,"443":1.50}');
  });

  it("orders keys by their bytes, not by UTF-16", () => {
    const sorted = sortedAsInGo(new Map(["😀", "\uffe6", "b", "B"].map((key) => [key, null])));
    expect([...sorted.keys()]).toEqual(["B", "b", "\uffe6", "😀"]);
  });
});

describe("goTimestamp", () => {
  it.each([
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"],
    ["2024-05-13t09:31:10.100z", "2024-05-13T09:31:10.1Z"],
    ["2024-05-13T09:31:10.000+00:00", "2024-05-13T09:31:10Z"],
    ["2024-05-13T09:31:10.123456789-07:30", "2024-05-13T09:31:10.123456789-07:30"],
  ])("of %s is %s", (text, expected) => {
    expect(goTimestamp(text, "created")).toBe(expected);
  });

  it.each(["now", "0", "", "2024-05-13", "2024-02-30T00:00:00Z"])("is not of %j", (text) => {
    expect(() => goTimestamp(text, "created")).toThrow(`created: ${JSON.stringify(text)} is not a time`);
  });
});
