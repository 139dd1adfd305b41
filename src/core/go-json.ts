import { encodeUtf8 } from "./byte-string.js";
import { compareStrings } from "./errors.js";
import { isJsonObject, type Json, JsonNumber, type JsonObject } from "./json.js";

/**
 * What Go's `json.Marshal` prints for a value, or `json.MarshalIndent` where an indent is given: no newline at the end, and `<`, `>`, `&`
 * and the line separators escaped. Objects keep their order; Go sorts maps, see {@link sortedAsInGo}.
 */
export function formatGoJson(value: Json, indent?: string): string {
  return format(value, indent, "\n");
}

/** @param newline what begins a line at this value's level */
function format(value: Json, indent: string | undefined, newline: string): string {
  if (value instanceof JsonNumber) return value.text;
  if (typeof value === "string") return goString(value);
  if (typeof value !== "object" || value === null) return String(value);
  const inner = newline + (indent ?? "");
  const [open, close, items] = isJsonObject(value)
    ? (["{", "}", [...value].map(([key, item]) => member(key, item))] as const)
    : (["[", "]", value.map((item) => format(item, indent, inner))] as const);
  if (items.length === 0) return open + close;
  return indent === undefined
    ? open + items.join(",") + close
    : open + inner + items.join(`,${inner}`) + newline + close;

  function member(key: string, item: Json): string {
    return `${goString(key)}:${indent === undefined ? "" : " "}${format(item, indent, inner)}`;
  }
}

function goString(text: string): string {
  return JSON.stringify(text.replace(/\p{Cs}/gu, "\ufffd")).replace(
    /[<>&\u2028\u2029]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The object with its keys in the order in which Go prints those of a map: by their bytes in UTF-8. */
export function sortedAsInGo(object: JsonObject): JsonObject {
  return new Map([...object].sort(([a], [b]) => compareStrings(encodeUtf8(a), encodeUtf8(b))));
}
