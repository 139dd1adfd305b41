import { OciNixError } from "./errors.js";

/**
 * JSON whose objects keep the order of their keys and whose numbers keep their text, as byte-exact rewriting needs them:
 * JavaScript objects put keys such as "443" first, and its numbers lose digits.
 */
export type Json = null | boolean | string | JsonNumber | readonly Json[] | JsonObject;

/** An object of JSON, its keys in the order of the text. */
export type JsonObject = ReadonlyMap<string, Json>;

/** A number as it was written. */
export class JsonNumber {
  readonly text: string;
  constructor(text: string | number) {
    this.text = String(text);
  }

  /** For messages, which show values by `JSON.stringify`. */
  toJSON(): number {
    return Number(this.text);
  }
}

/** Of a value in a message. */
const MAX_SHOWN = 40;

/** The error of a value that is not what it must be. @param found what is there instead, where that says more */
export function wrong(where: string, expected: string, found?: Json): OciNixError {
  return new OciNixError(
    "invalid-input",
    `${where} must be ${expected}${found === undefined ? "" : `; found ${shown(found)}`}`,
  );
}

function shown(value: Json): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  if (isJsonObject(value)) return value.size === 0 ? "an empty object" : "an object";
  if (value instanceof JsonNumber) return shortened(value.text);
  if (typeof value === "object" && value !== null) return "a JavaScript value that toJson did not make";
  return typeof value === "string" ? JSON.stringify(shortened(value)) : String(value);
}

/** A text that somebody gave, for messages. */
export function shortened(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** Whether a value is an object of JSON. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

const MAX_DEPTH = 512;
/** Values of one text: each takes up to 200 bytes of memory, and as few as three of text. */
const MAX_VALUES = 5_000_000;
/** Those that are read as plain JavaScript values take much less. */
const MAX_PLAIN_VALUES = 8 * MAX_VALUES;
const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const TOKEN = /[ \t\n\r]*(?:([{}[\],:])|(")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))/y;

/**
 * Parses JSON (RFC 8259); of a repeated key the last value counts, at the first one's place. A byte order mark is skipped.
 * @param source what errors call the text
 * @param onRepeated told of each key that an object has twice
 * @throws OciNixError `invalid-input` with line and column; `limit` for more than five million values
 */
export function parseJson(text: string, source: string, onRepeated?: (key: string) => void): Json {
  let values = 0;
  let at = text.startsWith("\ufeff") ? 1 : 0;
  const fail = (what: string): never => {
    const before = text.slice(0, at).split("\n");
    const column = (before.at(-1) as string).length + 1;
    throw new OciNixError(
      "invalid-input",
      `${source} is not valid JSON: ${what} at line ${before.length}, column ${column}`,
    );
  };
  // Not by the regular expression, whose stack a long string would exhaust.
  const quoted = (): string => {
    const start = at - 1;
    for (; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit === BACKSLASH) at++;
      else if (unit === QUOTE) return text.slice(start, ++at);
    }
    at = start;
    return fail("a string that does not end");
  };
  const token = (): string => {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) return fail(/^\s*$/.test(text.slice(at)) ? "it ends too early" : "unexpected characters");
    at = TOKEN.lastIndex;
    if (match[2] !== undefined) return quoted();
    return (match[1] ?? match[2] ?? match[3] ?? match[4]) as string;
  };
  const string = (literal: string): string => {
    try {
      return JSON.parse(literal) as string;
    } catch {
      return fail("a bad escape or a control character in a string");
    }
  };
  const value = (first: string, depth: number): Json => {
    if (depth > MAX_DEPTH) fail(`more than ${MAX_DEPTH} levels`);
    if (++values > MAX_VALUES) throw tooMany(source, MAX_VALUES);
    if (first === "{") {
      const object = new Map<string, Json>();
      for (let next = token(); next !== "}"; next = token()) {
        if (object.size > 0 || next === ",") {
          if (next !== "," || object.size === 0) fail("a comma is missing or misplaced");
          next = token();
        }
        if (!next.startsWith('"')) fail("a key is missing");
        if (token() !== ":") fail("a colon is missing");
        const key = string(next);
        if (object.has(key)) onRepeated?.(key);
        object.set(key, value(token(), depth + 1));
      }
      return object;
    }
    if (first === "[") {
      const array: Json[] = [];
      for (let next = token(); next !== "]"; next = token()) {
        if (array.length > 0 || next === ",") {
          if (next !== "," || array.length === 0) fail("a comma is missing or misplaced");
          next = token();
        }
        array.push(value(next, depth + 1));
      }
      return array;
    }
    if (first.startsWith('"')) return string(first);
    if (first === "true" || first === "false") return first === "true";
    if (first === "null") return null;
    if (/^[-0-9]/.test(first)) return new JsonNumber(first);
    return fail(`unexpected ${first}`);
  };
  const parsed = value(token(), 0);
  if (!/^[ \t\n\r]*$/.test(text.slice(at))) fail("something follows the value");
  return parsed;
}

/**
 * Parses JSON to plain JavaScript values: for large inputs whose key order and number texts do not count.
 * @throws OciNixError as {@link parseJson}, but `limit` for more than forty million values
 */
export function parsePlainJson(text: string, source: string): unknown {
  if (mayHaveMoreValues(text, MAX_PLAIN_VALUES)) throw tooMany(source, MAX_PLAIN_VALUES);
  try {
    return JSON.parse(text);
  } catch {
    // JSON.parse names the place in some messages only, and differently in each version of Node.
    return parseJson(text, source);
  }
}

function tooMany(source: string, max: number): OciNixError {
  return new OciNixError("limit", `${source} has more than ${max} values`);
}

/** Counts what stands before values; commas and brackets in strings, too, of which nobody has so many. */
function mayHaveMoreValues(text: string, max: number): boolean {
  if (text.length <= max) return false;
  let values = 0;
  for (let at = 0; at < text.length && values <= max; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x2c || unit === 0x5b || unit === 0x7b) values++;
  }
  return values > max;
}

/** What {@link parsePlainJson} gave, for messages: it may be nested more deeply than can be printed. */
export function shownJson(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? String(value);
    return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  } catch {
    return Array.isArray(value) ? "an array" : "an object";
  }
}

const SHOWN = 120;

/** `value` as {@link Json}, objects in insertion order; for values made here, not for those where key order counts. */
export function toJson(value: unknown): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return new JsonNumber(value);
  if (value instanceof JsonNumber) return value;
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key as string, toJson(item)]));
  if (Array.isArray(value)) return value.map(toJson);
  return new Map(
    Object.entries(value as object)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, toJson(item)]),
  );
}

/** Compact JSON in UTF-8, escaping only what JSON requires. */
export function formatJson(value: Json): string {
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return `[${value.map(formatJson).join(",")}]`;
  if (isJsonObject(value)) {
    return `{${[...value].map(([key, item]) => `${JSON.stringify(key)}:${formatJson(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** What Python's `json.dumps(value, indent=4)` prints: ASCII only, floats by `repr`. */
export function formatPythonJson(value: Json, indent = ""): string {
  const inner = `${indent}    `;
  const lines = (items: readonly string[], open: string, close: string) =>
    items.length === 0 ? `${open}${close}` : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
  if (value instanceof JsonNumber) return pythonNumber(value.text);
  if (Array.isArray(value)) {
    return lines(
      value.map((item) => formatPythonJson(item, inner)),
      "[",
      "]",
    );
  }
  if (isJsonObject(value)) {
    const members = [...value].map(([key, item]) => `${asciiString(key)}: ${formatPythonJson(item, inner)}`);
    return lines(members, "{", "}");
  }
  return typeof value === "string" ? asciiString(value) : String(value);
}

function asciiString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function pythonNumber(text: string): string {
  if (/^-?[0-9]+$/.test(text)) return text === "-0" ? "0" : text;
  const number = Number(text);
  if (!Number.isFinite(number)) return number > 0 ? "Infinity" : "-Infinity";
  const [, sign, first, rest, exponentText] = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(
    number.toExponential(),
  ) as RegExpExecArray;
  const negative = sign === "-" || Object.is(number, -0) ? "-" : "";
  const digits = `${first}${rest ?? ""}`;
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const mantissa = rest === undefined ? first : `${first}.${rest}`;
    return `${negative}${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `${negative}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${negative}${whole}.${digits.slice(exponent + 1) || "0"}`;
}
