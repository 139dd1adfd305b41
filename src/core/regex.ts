import { createRequire } from "node:module";
import type * as Re2 from "re2js";
import { type ByteString, decodeSurrogateEscape, encodeUtf8, isAscii } from "./byte-string.js";
import { OciNixError } from "./errors.js";

const require = createRequire(import.meta.url);

/** A longer pattern takes seconds and gigabytes to compile. */
const MAX_PATTERN = 1 << 16;

/** A compiled RE2 regular expression over byte strings: linear time, Go's syntax, undecodable bytes count as U+FFFD as in Go. */
export interface ByteRegex {
  /** Whether it matches anywhere. */
  test(bytes: ByteString): boolean;
  /** Every match replaced; `$1`, `${1}`, `$name` and `$$` expand as in Go's regexp.Expand. */
  replaceAll(bytes: ByteString, replacement: string): ByteString;
}

/** @throws OciNixError `invalid-input` where `pattern` is not RE2; `where` names its origin */
export function compileRegex(pattern: string, where: string): ByteRegex {
  if (pattern.length > MAX_PATTERN) {
    throw new OciNixError("limit", `${where}: a regular expression of ${pattern.length} characters`, {
      hint: `up to ${MAX_PATTERN} are taken: make several rules of it`,
    });
  }
  // Loaded when first needed: few images have rules, and every thread would pay for it.
  const { RE2JS } = require("re2js") as typeof Re2;
  let compiled: Re2.RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (error) {
    throw new OciNixError(
      "invalid-input",
      `${where}: ${shown(pattern)} is not an RE2 regular expression: ${shorten((error as Error).message)}`,
      {
        hint: "RE2 has no look-around and no back-references; see https://github.com/google/re2/wiki/Syntax",
        cause: error,
      },
    );
  }
  const names = compiled.namedGroups() as Readonly<Record<string, number>>;
  return {
    test: (bytes) => compiled.test(decode(bytes).text),
    replaceAll(bytes, replacement) {
      const { text, offset } = decode(bytes);
      const matcher = compiled.matcher(text);
      let result = "";
      let from = 0;
      while (matcher.find()) {
        const at = offset(matcher.start());
        result += bytes.slice(from, at);
        result += expand(replacement, names, (group) => {
          if (group > matcher.groupCount() || matcher.group(group) === null) return "";
          return bytes.slice(offset(matcher.start(group)), offset(matcher.end(group)));
        });
        from = offset(matcher.end());
      }
      return result + bytes.slice(from);
    },
  };
}

const SHOWN = 200;

function shown(pattern: string): string {
  return shorten(JSON.stringify(pattern));
}

function shorten(text: string): string {
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`;
}

/** A pattern that matches just this text. */
export function quoteRegex(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&");
}

/** Many rules are asked of one path after the other. */
let lastDecoded: { readonly bytes: ByteString; readonly decoded: ReturnType<typeof decodeAnew> } | undefined;

function decode(bytes: ByteString): ReturnType<typeof decodeAnew> {
  if (lastDecoded?.bytes !== bytes) lastDecoded = { bytes, decoded: decodeAnew(bytes) };
  return lastDecoded.decoded;
}

/** The text to match on, and the byte offset of each of its UTF-16 offsets. */
function decodeAnew(bytes: ByteString): { readonly text: string; readonly offset: (unit: number) => number } {
  if (isAscii(bytes)) return { text: bytes, offset: (unit) => unit };
  const offsets: number[] = [];
  let text = "";
  let at = 0;
  for (const unit of decodeSurrogateEscape(bytes)) {
    const undecodable = unit >= "\udc80" && unit <= "\udcff";
    const shown = undecodable ? "\ufffd" : unit;
    for (let i = 0; i < shown.length; i++) offsets.push(at);
    text += shown;
    at += undecodable ? 1 : encodeUtf8(unit).length;
  }
  offsets.push(at);
  return { text, offset: (unit) => offsets[unit] as number };
}

/** Go's regexp.Expand: a name is the longest run of letters, digits and `_`; an unknown group is empty; `$` alone stays. */
function expand(
  template: string,
  names: Readonly<Record<string, number>>,
  group: (index: number) => ByteString,
): ByteString {
  return encodeUtf8(template).replace(
    /\$(?:\$|\{([0-9A-Za-z_]+)\}|([0-9A-Za-z_]+))/g,
    (whole, braced?: string, bare?: string) => {
      if (whole === "$$") return "$";
      const name = (braced ?? bare) as string;
      const index = /^[0-9]+$/.test(name) ? Number(name) : Object.hasOwn(names, name) ? names[name] : undefined;
      return index === undefined ? "" : group(index);
    },
  );
}
