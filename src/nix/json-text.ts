import { OciNixError } from "../core/errors.js";

/**
 * Parses JSON.
 * @throws OciNixError `invalid-input` with line and column (both from 1, columns in UTF-16 units) of the first character that is wrong, of a wrong word or string the
 *   beginning
 */
export function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const offset = offsetOfFlaw(text);
    const before = text.slice(0, offset).split("\n");
    const position = `line ${before.length}, column ${(before.at(-1) as string).length + 1}`;
    const found =
      offset >= text.length
        ? "the text ends too early"
        : `unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(offset) as number))}`;
    throw new OciNixError("invalid-input", `${source} is not valid JSON: ${found} at ${position}`, { cause: error });
  }
}

const SPACE = /[ \t\n\r]*/y;
const TOKEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not hold control characters
  /[{}[\],:]|"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;

/** What may come next: a value, a value or the end of the array, a key, a key or the end of the object, … */
type Expected = "value" | "value-or-end" | "key" | "key-or-end" | "colon" | "comma-or-end";

/**
 * Where the text stops being JSON; its length where something is missing at the end.
 * JSON.parse itself names the place in some messages only, and differently in each version of Node.
 */
function offsetOfFlaw(text: string): number {
  const open: ("}" | "]")[] = [];
  let expected: Expected = "value";
  for (let at = skip(SPACE, text, 0); at < text.length; ) {
    const end: number = skip(TOKEN, text, at);
    const next: Expected | undefined = end === at ? undefined : expectedAfter(text.slice(at, end), expected, open);
    if (next === undefined) return at;
    expected = next;
    at = skip(SPACE, text, end);
  }
  return text.length;
}

function expectedAfter(token: string, expected: Expected, open: ("}" | "]")[]): Expected | undefined {
  if (token === "}" || token === "]") {
    const mayEnd = expected === "comma-or-end" || expected === (token === "}" ? "key-or-end" : "value-or-end");
    return mayEnd && open.pop() === token ? "comma-or-end" : undefined;
  }
  if (token === ",") {
    if (expected !== "comma-or-end" || open.length === 0) return undefined;
    return open.at(-1) === "}" ? "key" : "value";
  }
  if (token === ":") return expected === "colon" ? "value" : undefined;
  if (expected === "key" || expected === "key-or-end") return token.startsWith('"') ? "colon" : undefined;
  if (expected !== "value" && expected !== "value-or-end") return undefined;
  if (token === "{" || token === "[") {
    open.push(token === "{" ? "}" : "]");
    return token === "{" ? "key-or-end" : "value-or-end";
  }
  return "comma-or-end";
}

/** The offset behind a sticky expression's match at `at`; `at` where there is none. */
function skip(expression: RegExp, text: string, at: number): number {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : at;
}
