import { compareStrings, nearest, OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, JsonNumber } from "../core/json.js";

const MAX_ID = 2 ** 32 - 2;

/** Gives a value of a spec as the program takes it. @throws OciNixError `invalid-input` saying what it must be */
export type Check<T> = (value: Json, where: string) => T;

export const text: Check<string> = (value, where) => {
  if (typeof value !== "string" || value === "") throw wrong(where, "a string that is not empty");
  // Neither a path nor a tar field nor UTF-8 can hold them.
  if (/\p{Cc}|\p{Cs}/u.test(value)) throw wrong(where, "text without control characters and lone surrogates");
  return value;
};

/** A text that is parsed further. */
export const parsed =
  <T>(parse: (value: string, where: string) => T): Check<T> =>
  (value, where) =>
    parse(text(value, where), where);

export const texts: Check<readonly string[]> = (value, where) => {
  if (!Array.isArray(value)) throw wrong(where, "an array of strings");
  return value.map((item: Json, i) => text(item, `${where}[${i}]`));
};

export const wholeNumber =
  (max: number): Check<number> =>
  (value, where) => {
    const number = value instanceof JsonNumber && /^\d{1,16}$/.test(value.text) ? Number(value.text) : Number.NaN;
    if (!(number <= max)) throw wrong(where, `a whole number from 0 to ${max}`);
    return number;
  };

export const id = wholeNumber(MAX_ID);

export const flag: Check<boolean> = (value, where) => {
  if (typeof value !== "boolean") throw wrong(where, "true or false");
  return value;
};

export const mode: Check<number> = (value, where) => {
  if (typeof value !== "string" || !/^[0-7]{3,5}$/.test(value) || Number.parseInt(value, 8) > 0o7777) {
    throw wrong(where, 'octal digits in a string, such as "0755" or "1777"');
  }
  return Number.parseInt(value, 8);
};

export const arrayOf =
  <T>(check: Check<T>): Check<readonly T[]> =>
  (value, where) => {
    if (!Array.isArray(value)) throw wrong(where, "an array");
    return value.map((item: Json, i) => check(item, `${where}[${i}]`));
  };

export const OWNER_FIELDS = { uid: id, gid: id, uname: text, gname: text } as const;

/** Checks an object of known fields; null is as good as nothing. @throws OciNixError `invalid-input`, of an unknown key naming the nearest known one */
export function checkFields<Fields extends Readonly<Record<string, Check<unknown>>>>(
  value: Json,
  fields: Fields,
  where: string,
): { readonly [Key in keyof Fields]?: ReturnType<Fields[Key]> } {
  if (!isJsonObject(value)) throw wrong(where, "an object");
  const checked: Record<string, unknown> = {};
  for (const [key, item] of value) {
    const check = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (check === undefined) {
      const known = Object.keys(fields).sort(compareStrings);
      const near = nearest(key, known);
      throw new OciNixError("invalid-input", `${where}: unknown key ${JSON.stringify(key)}`, {
        hint: near === undefined ? `known keys: ${known.join(", ")}` : `did you mean ${near}?`,
      });
    }
    if (item !== null) checked[key] = check(item, `${where}: ${key}`);
  }
  return checked as { readonly [Key in keyof Fields]?: ReturnType<Fields[Key]> };
}

/** The error of a value that is not what it must be. */
export function wrong(where: string, expected: string): OciNixError {
  return new OciNixError("invalid-input", `${where} must be ${expected}`);
}
