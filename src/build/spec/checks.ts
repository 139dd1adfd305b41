import { compareStrings, nearest, OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, JsonNumber, wrong } from "../../core/json.js";
import { objectSchema, type Schema } from "../../core/json-schema.js";

const MAX_ID = 2 ** 32 - 2;

/** Checks a value of a spec, and says in its schema what that may be. */
export interface Check<T> {
  /** Gives the value as the program takes it. @throws OciNixError `invalid-input` saying what it must be */
  (value: Json, where: string): T;
  /** What has this shape; of what is right nothing is refused by it. */
  readonly schema: Schema;
}

/** A check whose schema stands beside it. */
export function check<T>(schema: Schema, run: (value: Json, where: string) => T): Check<T> {
  return Object.assign((value: Json, where: string) => run(value, where), { schema });
}

/** A check whose schema tells what the value is for, in one line. */
export interface Described<T> extends Check<T> {
  readonly schema: Schema & { readonly description: string };
}

/** What a field is for, and what it may be. @param more keywords for editors, such as `default` and `examples` */
export function field<T>(description: string, run: Check<T>, more: Schema = {}): Described<T> {
  const schema = { description, ...run.schema, ...more };
  return Object.assign((value: Json, where: string) => run(value, where), { schema });
}

export const text = check({ type: "string", pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]+$" }, (value, where) => {
  if (typeof value !== "string" || value === "") throw wrong(where, "a string that is not empty", value);
  // Neither a path nor a tar field nor UTF-8 can hold them.
  if (/\p{Cc}|\p{Cs}/u.test(value)) throw wrong(where, "text without control characters and lone surrogates", value);
  return value;
});

/** A text that is parsed further. */
export const parsed = <T>(parse: (value: string, where: string) => T, schema: Schema = {}): Check<T> =>
  check({ ...text.schema, ...schema }, (value, where) => parse(text(value, where), where));

export const texts = check({ type: "array", items: text.schema }, (value, where): readonly string[] => {
  if (!Array.isArray(value)) throw wrong(where, "an array of strings", value);
  return value.map((item: Json, i) => text(item, `${where}[${i}]`));
});

/** @param min 0 or 1 */
export const wholeNumber = (max: number, min = 0): Check<number> =>
  check({ type: "integer", minimum: min, maximum: max }, (value, where) => {
    const number = value instanceof JsonNumber && /^\d{1,16}$/.test(value.text) ? Number(value.text) : Number.NaN;
    if (!(number >= min && number <= max)) throw wrong(where, `a whole number from ${min} to ${max}`, value);
    return number;
  });

const id = wholeNumber(MAX_ID);

export const flag = check({ type: "boolean" }, (value, where) => {
  if (typeof value !== "boolean") throw wrong(where, "true or false", value);
  return value;
});

export const mode = check({ type: "string", pattern: "^([0-7]{3}|0?[0-7]{4})$" }, (value, where) => {
  if (typeof value !== "string" || !/^[0-7]{3,5}$/.test(value) || Number.parseInt(value, 8) > 0o7777) {
    throw wrong(where, 'octal digits in a string, such as "0755" or "1777"', value);
  }
  return Number.parseInt(value, 8);
});

export const arrayOf = <T>(item: Check<T>): Check<readonly T[]> =>
  check({ type: "array", items: item.schema }, (value, where) => {
    if (!Array.isArray(value)) throw wrong(where, "an array", value);
    return value.map((each: Json, i) => item(each, `${where}[${i}]`));
  });

export const OWNER_FIELDS = {
  uid: field("Number of the owner", id),
  gid: field("Number of the group", id),
  uname: field("Name of the owner", text),
  gname: field("Name of the group", text),
} as const;

type Fields = Readonly<Record<string, Described<unknown>>>;

type Checked<F extends Fields> = { readonly [Key in keyof F]?: ReturnType<F[Key]> };

/** An object of known fields, and its schema. @param required fields that are neither missing nor null */
export function object<F extends Fields>(fields: F, required: readonly (string & keyof F)[] = []): Check<Checked<F>> {
  return check(objectSchema(schemasOf(fields), required), (value, where) => checkFields(value, fields, where));
}

/** The same, where more than the fields alone has to be right. */
export function objectOf<F extends Fields, T>(
  fields: F,
  required: readonly (string & keyof F)[],
  build: (checked: Checked<F>, where: string) => T,
): Check<T> {
  const checkObject = object(fields, required);
  return check(checkObject.schema, (value, where) => build(checkObject(value, where), where));
}

function schemasOf(fields: Fields): Readonly<Record<string, Schema>> {
  return Object.fromEntries(Object.entries(fields).map(([key, { schema }]) => [key, schema]));
}

/** Checks an object of known fields; null is as good as nothing. @throws OciNixError `invalid-input`, of an unknown key naming the nearest known one */
export function checkFields<F extends Fields>(value: Json, fields: F, where: string): Checked<F> {
  if (!isJsonObject(value)) throw wrong(where, "an object", value);
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
  return checked as Checked<F>;
}
