import { compareStrings, nearest, OciNixError } from "../core/errors.js";
import { sortedAsInGo } from "../core/go-json.js";
import { isJsonObject, type Json, JsonNumber, type JsonObject, wrong } from "../core/json.js";
import {
  CONTAINER_CONFIG_FIELDS as FIELDS,
  HEALTH_CHECK_FIELDS,
  type Shape,
  type Shapes,
} from "./container-config-fields.js";
import { MAX_WORD } from "./process-limits.js";

/** Whether an image's `config` has a field of this name. */
export function isContainerConfigField(name: string): boolean {
  return Object.hasOwn(FIELDS, name);
}

/**
 * Checks an image's `config` and puts it into its one written form: known fields in a fixed order, maps sorted by key.
 * @param where names the origin, for errors
 * @throws OciNixError `invalid-input` for an unknown field (naming the nearest known one) or a value of the wrong shape, or
 *   with which no container could start
 */
export function checkContainerConfig(config: Json, where: string): JsonObject {
  const checked = checkFields(config, FIELDS, where);
  for (const entry of (checked.get("Env") ?? []) as readonly string[]) {
    if (entry.indexOf("=") < 1) {
      throw new OciNixError("invalid-input", `${where}.Env: ${JSON.stringify(entry)} is not NAME=VALUE`);
    }
    checkWord(entry, `${where}.Env: ${entry.slice(0, entry.indexOf("="))}`, "put the value into a file, and name that");
  }
  for (const field of ["Entrypoint", "Cmd"]) {
    const words = (checked.get(field) ?? []) as readonly string[];
    for (const [i, word] of words.entries()) {
      checkWord(word, `${where}.${field}[${i}]`, "put it into a script that is in the image");
    }
  }
  checkForm(checked.get("WorkingDir") || undefined, ABSOLUTE, `${where}.WorkingDir`, "an absolute path");
  checkForm(
    checked.get("StopSignal") || undefined,
    /^(SIG[A-Z0-9+-]+|[0-9]{1,2})$/,
    `${where}.StopSignal`,
    "a signal such as SIGTERM",
  );
  for (const directory of keysOf(checked.get("Volumes"))) {
    checkForm(directory, ABSOLUTE, `${where}.Volumes`, "absolute paths");
  }
  for (const port of keysOf(checked.get("ExposedPorts"))) {
    checkForm(port, /^[0-9]{1,5}(-[0-9]{1,5})?(\/(tcp|udp|sctp))?$/, `${where}.ExposedPorts`, "ports such as 80/tcp");
  }
  return checked;
}

/**
 * An image's `config` as Go programs read and write it: keys match whatever their case, what is empty is left out, maps are in byte
 * order. Fields that only Docker's image format has (Healthcheck, …) come after those of the image-spec. The values' form is not
 * looked at, only their shape.
 * @param where names the origin, for errors
 * @throws OciNixError `invalid-input` for an unknown field, one given twice, or a value of the wrong shape
 */
export function checkGoContainerConfig(config: Json, where: string): JsonObject {
  if (!isJsonObject(config)) throw wrong(where, "an object", config);
  const named = new Map<string, Json>();
  for (const [key, value] of config) {
    const name = Object.keys(FIELDS).find((field) => field.toLowerCase() === key.toLowerCase()) ?? key;
    if (named.has(name)) throw new OciNixError("invalid-input", `${where}: ${name} is given twice`);
    named.set(name, value);
  }
  const checked = checkFields(named, FIELDS, where);
  const inOrder = new Map<string, Json>();
  for (const name of [...GO_FIELDS, ...Object.keys(FIELDS).filter((field) => !GO_FIELDS.includes(field))]) {
    const value = checked.get(name);
    if (value === undefined || isEmpty(value)) continue;
    inOrder.set(
      name,
      FIELDS[name]?.shape === "string map" || FIELDS[name]?.shape === "set" ? sortedAsInGo(value as JsonObject) : value,
    );
  }
  return inOrder;
}

/** The image-spec's own fields, as its Go type orders them. */
const GO_FIELDS: readonly string[] = [
  "User",
  "ExposedPorts",
  "Env",
  "Entrypoint",
  "Cmd",
  "Volumes",
  "WorkingDir",
  "Labels",
  "StopSignal",
  "ArgsEscaped",
];

function isEmpty(value: Json): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isJsonObject(value) ? value.size === 0 : value === "" || value === false;
}

/**
 * What keeps Go programs from reading an image's `config`: values of known fields of the wrong shape. Unknown fields are none of it.
 * @param where names the origin in the messages
 */
export function containerConfigProblems(config: Json, where: string): readonly string[] {
  if (!isJsonObject(config)) return [wrong(where, "an object", config).message];
  return Object.entries(FIELDS).flatMap(([key, { shape }]) => {
    const field = config.get(key);
    if (field === undefined || field === null) return [];
    try {
      checkShape(field, shape, `${where}.${key}`);
      return [];
    } catch (error) {
      if (error instanceof OciNixError) return [error.message];
      throw error;
    }
  });
}

/** Of what is longer, or no text of C's, nothing could be started. */
function checkWord(word: string, where: string, hint: string): void {
  if (/[\0\p{Cs}]/u.test(word)) {
    throw new OciNixError("invalid-input", `${where} holds a NUL or a lone surrogate: Linux starts no program with it`);
  }
  const size = Buffer.byteLength(word);
  if (size <= MAX_WORD) return;
  throw new OciNixError(
    "invalid-input",
    `${where} has ${size} bytes: Linux starts no program with an argument or variable of more than ${MAX_WORD}`,
    { hint },
  );
}

const ABSOLUTE = /^\//;

function keysOf(value: Json | undefined): readonly string[] {
  return isJsonObject(value) ? [...value.keys()] : [];
}

function checkForm(value: Json | undefined, form: RegExp, where: string, expected: string): void {
  if (value === undefined || (typeof value === "string" && form.test(value))) return;
  throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(value)} is not ${expected}`);
}

function checkFields(value: Json, fields: Shapes, where: string): JsonObject {
  if (!isJsonObject(value)) throw wrong(where, "an object", value);
  for (const key of value.keys()) {
    if (Object.hasOwn(fields, key)) continue;
    const near = nearest(key, Object.keys(fields));
    throw new OciNixError("invalid-input", `${where}: unknown field ${JSON.stringify(key)}`, {
      hint: near === undefined ? `known fields: ${Object.keys(fields).join(", ")}` : `did you mean ${near}?`,
    });
  }
  const checked = new Map<string, Json>();
  for (const [key, { shape }] of Object.entries(fields)) {
    const field = value.get(key);
    if (field !== undefined && field !== null) checked.set(key, checkShape(field, shape, `${where}.${key}`));
  }
  return checked;
}

function checkShape(value: Json, shape: Shape, where: string): Json {
  switch (shape) {
    case "string":
      if (typeof value !== "string") throw wrong(where, "a string", value);
      return value;
    case "boolean":
      if (typeof value !== "boolean") throw wrong(where, "true or false", value);
      return value;
    case "integer":
      if (!(value instanceof JsonNumber) || !/^-?\d{1,19}$/.test(value.text))
        throw wrong(where, "a whole number", value);
      return value;
    case "strings":
      if (!Array.isArray(value)) throw wrong(where, "an array of strings", value);
      for (const [i, item] of value.entries()) checkShape(item, "string", `${where}[${i}]`);
      return value;
    case "string map":
      if (!isJsonObject(value)) throw wrong(where, "an object of strings", value);
      for (const [key, item] of value) checkShape(item, "string", `${where}[${JSON.stringify(key)}]`);
      return sortedByKey(value);
    case "set":
      if (!isJsonObject(value)) throw wrong(where, "an object of empty objects", value);
      for (const [key, item] of value) {
        if (!isJsonObject(item) || item.size > 0)
          throw wrong(`${where}[${JSON.stringify(key)}]`, "an empty object", item);
      }
      return sortedByKey(value);
    case "health check":
      return checkFields(value, HEALTH_CHECK_FIELDS, where);
  }
}

function sortedByKey(object: JsonObject): JsonObject {
  return new Map([...object].sort(([a], [b]) => compareStrings(a, b)));
}
