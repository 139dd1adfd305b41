import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compareByCodePoint,
  decodeSurrogateEscape,
  displayBytes,
  encodeUtf8,
  isUtf8,
} from "../../../src/core/byte-string.js";
import { nearest } from "../../../src/core/errors.js";
import { formatJson, formatPythonJson, parseJson } from "../../../src/core/json.js";
import { parseTimestamp } from "../../../src/core/timestamp.js";
import { storePathsComment } from "../../../src/oci/image.js";
import { runOk } from "../../support/command.js";

/** Runs Python over a JSON array of inputs; gives the array it prints. */
async function python<T>(expression: string, inputs: readonly unknown[]): Promise<readonly T[]> {
  const program = `import json, os, sys; print(json.dumps([${expression} for x in json.load(sys.stdin)]))`;
  const output = await runOk("python3", ["-c", program], {
    stdin: JSON.stringify(inputs),
    env: { ...process.env, PYTHONUTF8: "1" },
  });
  return JSON.parse(output) as readonly T[];
}

describe("JSON in Python's form", () => {
  it("is what json.dumps prints, for any JSON", async () => {
    const numbers = fc.oneof(
      fc
        .double({ noNaN: true })
        .map((value) => (Number.isFinite(value) ? JSON.stringify(value) : value > 0 ? "1e999" : "-1e999")),
      fc.bigInt().map(String),
      fc.constantFrom(
        "-0",
        "-0.0",
        "0.0",
        "1E5",
        "1e+05",
        "1.0",
        "1e16",
        "123456789012345680.0",
        "1e-5",
        "0.0001",
        "5e-324",
        "1e22",
        "100000000000000000000000",
      ),
    );
    const strings = fc
      .oneof(
        fc.string({ unit: "binary" }),
        fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) }),
      )
      .map((text) => JSON.stringify(text));
    const { json } = fc.letrec<{ json: string }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 4 },
        numbers,
        strings,
        fc.constantFrom("true", "false", "null", "[]", "{}"),
        fc.array(tie("json"), { maxLength: 4 }).map((items) => `[${items.join(",")}]`),
        fc
          .array(fc.tuple(strings, tie("json")), { maxLength: 4 })
          .map((items) => `{${items.map((pair) => pair.join(":")).join(",")}}`),
      ),
    }));
    const texts = fc.sample(json, 1500);
    const expected = await python<string>("json.dumps(json.loads(x), indent=4)", texts);
    expect(texts.map((text) => formatPythonJson(parseJson(text, "x")))).toEqual(expected);
  });

  it("lists store paths as Python's repr does, for any string that it can print", async () => {
    // Characters assigned since Python's or Node's version of Unicode may differ.
    const character = fc.oneof(
      fc.nat(0x24f),
      fc.constantFrom(0x2028, 0x200b, 0xfeff, 0xd7ff, 0xe000, 0xfffd, 0x1f600, 0xe0001, 0x10ffff),
    );
    const strings = fc.sample(fc.string({ unit: character.map((code) => String.fromCodePoint(code)) }), 500);
    strings.push("'", '"', "'\"", "\\", "a\nb\tc\rd");
    const expected = await python<string>("f'store paths: {[x]}'", strings);
    expect(strings.map((text) => storePathsComment([text]))).toEqual(expected);
  });
});

describe("parseJson", () => {
  it("takes what JSON.parse takes, with the same meaning, and nothing else", () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom("", "", "}", "]", ",", ":", '"', "\\", "0", "-", ".", "\n", "\u00a0"),
        (text, n, added) => {
          const at = n % (text.length + 1);
          const tried = text.slice(0, at) + added + text.slice(at);
          let expected: string | undefined;
          try {
            expected = JSON.stringify(JSON.parse(tried));
          } catch {}
          if (expected === undefined)
            expect(() => parseJson(tried, "f")).toThrow(/^f is not valid JSON: .* at line \d+, column \d+$/);
          else expect(JSON.stringify(JSON.parse(formatJson(parseJson(tried, "f"))))).toBe(expected);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("keeps the order of keys and the text of numbers", () => {
    const text = '{"443":1.50,"80":-0,"a":1e400,"__proto__":{"b":12345678901234567890}}';
    expect(formatJson(parseJson(text, "f"))).toBe(text);
  });

  it("reads long strings full of escapes", () => {
    const text = JSON.stringify("\n\\".repeat(2_000_000));
    expect(parseJson(text, "f")).toHaveLength(4_000_000);
  });
});

describe("byte strings", () => {
  it("decode and sort as Python decodes and sorts file names", async () => {
    const names = fc
      .sample(
        fc.oneof(
          fc.uint8Array({ maxLength: 6 }),
          fc.string({ unit: "binary" }).map((text) => new Uint8Array(Buffer.from(text))),
        ),
        800,
      )
      .map((bytes) => Buffer.from(bytes).toString("latin1"));
    const points = await python<number[]>(
      "list(map(ord, x.encode('latin1').decode('utf-8', 'surrogateescape')))",
      names,
    );
    expect(names.map((name) => decodeSurrogateEscape(name).map((unit) => unit.codePointAt(0)))).toEqual(points);
    expect(names.map(isUtf8)).toEqual(points.map((list) => !list.some((code) => code >= 0xdc80 && code <= 0xdcff)));
    const [sorted] = await python<string[]>(
      "sorted(x, key=lambda s: s.encode('latin1').decode('utf-8', 'surrogateescape'))",
      [names],
    );
    expect([...names].sort(compareByCodePoint)).toEqual(sorted);
  });

  it("are shown with what cannot be printed escaped", () => {
    expect(displayBytes(`${encodeUtf8("é😀")}\xff\n\x1b`)).toBe("é😀\\xff\\x0a\\x1b");
  });
});

describe("parseTimestamp", () => {
  it.each([
    ["1970-01-01T00:00:01Z", 1],
    ["1970-01-01T05:30:00+05:30", 0],
    ["1969-12-31T23:59:59.5Z", -1],
    ["2024-02-29T00:00:00z", 1709164800],
    ["1709164800", 1709164800],
  ])("reads %s", (text, seconds) => {
    expect(parseTimestamp(text, "t")).toMatchObject({ seconds });
  });

  it.each([
    "",
    "yesterday",
    "2023-02-29T00:00:00Z",
    "2024-04-31T00:00:00Z",
    "2024-01-01",
    "2024-01-01T00:00:00",
    "-1",
    "1e9",
    "2024-01-01T25:00:00Z",
    "9999999999999",
  ])("refuses %j", (text) => {
    expect(() => parseTimestamp(text, "--mtime")).toThrow(/^(--mtime: |9{13} )/);
  });

  it("takes now from SOURCE_DATE_EPOCH", () => {
    process.env.SOURCE_DATE_EPOCH = "86400";
    try {
      expect(parseTimestamp("now", "t")).toEqual({ text: "1970-01-02T00:00:00Z", seconds: 86400 });
      process.env.SOURCE_DATE_EPOCH = "soon";
      expect(() => parseTimestamp("now", "t")).toThrow(/SOURCE_DATE_EPOCH is "soon"/);
    } finally {
      delete process.env.SOURCE_DATE_EPOCH;
    }
  });
});

describe("nearest", () => {
  it.each([
    ["--nmae", "--name"],
    ["--Name", "--name"],
    ["--tga", "--tag"],
    ["--frobnicate", undefined],
    ["", undefined],
  ])("of %j is %j", (word, expected) => {
    expect(nearest(word, ["--tag", "--name", "--uname"])).toBe(expected);
  });
});
