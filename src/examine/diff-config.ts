import { compareStrings } from "../core/errors.js";
import { formatJson, isJsonObject, type Json, type JsonObject } from "../core/json.js";

/** A field of the image config that the images do not have alike; null where it is absent or empty. */
export interface FieldChange {
  /** Names from the top, joined by dots; of a variable in `Env` its name comes last. */
  readonly field: string;
  readonly before: Json;
  readonly after: Json;
}

/**
 * Compares configs field by field, whatever the order of their keys. What says which layers there are is left out. Of a variable that
 * `Env` has several times, all values count.
 */
export function diffConfigs(a: JsonObject, b: JsonObject): readonly FieldChange[] {
  const before = new Map(fieldsOf(a, ""));
  const after = new Map(fieldsOf(b, ""));
  return [...new Set([...before.keys(), ...after.keys()])]
    .sort(compareStrings)
    .map((field) => ({ field, before: before.get(field) ?? null, after: after.get(field) ?? null }))
    .filter((change) => before.has(change.field) !== after.has(change.field) || !isSame(change.before, change.after));
}

function* fieldsOf(object: JsonObject, prefix: string, depth = 1): Generator<readonly [string, Json], void, void> {
  for (const [key, value] of object) {
    const field = `${prefix}${key}`;
    if (field === "rootfs.diff_ids" || (depth <= FIELD_DEPTH && isEmpty(value))) continue;
    if (field === "config.Env" && Array.isArray(value)) yield* variablesOf(value as readonly Json[], field);
    else if (isJsonObject(value) && value.size > 0) yield* fieldsOf(value, `${field}.`, depth + 1);
    else yield [field, value];
  }
}

/** Deeper are names that people chose: of labels, volumes and ports. */
const FIELD_DEPTH = 2;

/** Engines write fields that nobody gave in any of these ways, or not at all. */
function isEmpty(value: Json): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isJsonObject(value) ? value.size === 0 : value === null || value === "" || value === false;
}

function* variablesOf(env: readonly Json[], field: string): Generator<readonly [string, Json], void, void> {
  const values = new Map<string, string[]>();
  for (const variable of env) {
    const [, name = "", value = ""] =
      /^([^=]*)=?(.*)$/s.exec(typeof variable === "string" ? variable : formatJson(variable)) ?? [];
    const known = values.get(name);
    if (known === undefined) values.set(name, [value]);
    else known.push(value);
  }
  for (const [name, [first = "", ...more]] of values)
    yield [`${field}.${name}`, more.length === 0 ? first : [first, ...more]];
}

function isSame(a: Json, b: Json): boolean {
  return formatJson(sorted(a)) === formatJson(sorted(b));
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(sorted);
  if (!isJsonObject(value)) return value;
  return new Map([...value].sort(([x], [y]) => compareStrings(x, y)).map(([key, item]) => [key, sorted(item)]));
}
