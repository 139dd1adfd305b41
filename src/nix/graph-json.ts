import { OciNixError } from "../core/errors.js";
import { renderContentAddress } from "./content-address.js";
import { ACCEPTED_CLOSURES, checkSize, type DescribedClosure, type DescribedObject } from "./described-closure.js";
import { normaliseNarHash } from "./hash.js";

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Recognises a closure graph in parsed JSON by its shape and reads it:
 *
 * - array of `{path, references, narHash?, narSize?, …}`: our own closure JSON, nix2container's closure graph, `nix path-info --json`
 *   up to Nix 2.18
 * - object keyed by store path: `nix path-info --json` since 2.19, and `--json-format 1`
 * - object with `storeDir` and `info`: `nix path-info --json-format 2` and later, where references are base names
 * - any other object that holds such arrays: `.attrs.json` of a derivation with structured attributes. `exportReferencesGraph` says
 *   under which keys they are; without it every top-level array of that shape counts. Several are merged.
 *
 * Fields that no closure needs (`closureSize`, `signatures`, …) are ignored.
 * @throws OciNixError `invalid-input`: another shape, a wrong type, or a path that the exporting store said is not valid
 */
export function describeGraphJson(json: unknown, source: string): DescribedClosure {
  if (Array.isArray(json)) return { objects: describeArray(json, source) };
  if (!isObject(json)) throw unknownShape(source, `it is ${kindOf(json)}`);
  if (isObject(json.info) && typeof json.storeDir === "string") {
    return describePathInfo(json.info, json.storeDir, source);
  }
  const keys = Object.keys(json);
  if (keys.length > 0 && keys.every((key) => key.startsWith("/"))) return describePathInfo(json, undefined, source);
  return describeAttributes(json, source);
}

/** `nix path-info` objects: the key is the path, or its base name where the format names the store directory. */
function describePathInfo(info: JsonObject, storeDir: string | undefined, source: string): DescribedClosure {
  const absolute = (path: string) => (storeDir === undefined || path.startsWith("/") ? path : `${storeDir}/${path}`);
  const objects = Object.entries(info).map(([key, value]): DescribedObject => {
    const path = absolute(key);
    if (value === null) throw notValid(path, source);
    if (!isObject(value)) throw wrongType(`${source}: ${path}`, value, "an object that describes a store path");
    const object = describeObject(value, path, source);
    return {
      ...object,
      references: object.references.map(absolute),
      deriver: object.deriver && absolute(object.deriver),
    };
  });
  return { objects, storeDir };
}

function describeAttributes(attributes: JsonObject, source: string): DescribedClosure {
  const listed = attributes.exportReferencesGraph;
  const names = isObject(listed)
    ? Object.keys(listed)
    : Object.keys(attributes).filter((key) => looksLikeGraph(attributes[key]));
  if (names.length === 0) {
    const keys = Object.keys(attributes);
    const shown = keys.slice(0, 8).join(", ") + (keys.length > 8 ? ", …" : "");
    throw unknownShape(source, keys.length === 0 ? "it is an empty object" : `it is an object with the keys ${shown}`);
  }
  const objects = names.flatMap((name) => {
    const graph = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    if (Array.isArray(graph)) return describeArray(graph, `${source}: ${JSON.stringify(name)}`);
    throw new OciNixError(
      "invalid-input",
      `${source}: exportReferencesGraph names ${JSON.stringify(name)}, but what is under that key is ${kindOf(graph)}, not a graph`,
    );
  });
  return { objects };
}

function looksLikeGraph(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((item) => isObject(item) && typeof item.path === "string" && Array.isArray(item.references))
  );
}

function describeArray(items: readonly unknown[], source: string): DescribedObject[] {
  return items.map((item, index) => {
    const where = `${source}[${index}]`;
    if (!isObject(item)) throw wrongType(where, item, "an object that describes a store path", ACCEPTED_CLOSURES);
    const path = item.path;
    if (typeof path !== "string") throw wrongType(`${where}.path`, path, "a store path", ACCEPTED_CLOSURES);
    return describeObject(item, path, source);
  });
}

function describeObject(object: JsonObject, path: string, source: string): DescribedObject {
  const { narHash, narSize, references, deriver, ca } = object;
  const where = (field: string) => `${source}: ${field} of ${path}`;
  if (object.valid === false) throw notValid(path, source);
  if (!Array.isArray(references)) throw wrongType(where("references"), references, "a list of store paths");
  for (const reference of references) {
    if (typeof reference !== "string") throw wrongType(where("references"), reference, "a store path");
  }
  if (!isAbsent(deriver) && typeof deriver !== "string") throw wrongType(where("deriver"), deriver, "a store path");
  return {
    path,
    narHash: narHash === undefined ? undefined : normaliseNarHash(narHash, where("narHash")),
    narSize: narSize === undefined ? undefined : checkSize(narSize, where("narSize")),
    references,
    // Binary caches write "unknown-deriver" where the database has none.
    deriver: isAbsent(deriver) || deriver === "unknown-deriver" ? undefined : deriver,
    ca: isAbsent(ca) ? undefined : renderContentAddress(ca, where("ca")),
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isAbsent(value: unknown): value is undefined | null | "" {
  return value === undefined || value === null || value === "";
}

function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function notValid(path: string, source: string): OciNixError {
  return new OciNixError(
    "invalid-input",
    `${source} says that ${path} is not valid: it was not in the store it was asked of`,
    {
      hint: `build or fetch it first, for example with: nix-store --realise ${path}`,
    },
  );
}

function wrongType(where: string, found: unknown, expected: string, hint?: string): OciNixError {
  const what = `${where} is ${kindOf(found)}${found === undefined ? "" : `, not ${expected}`}`;
  return new OciNixError("invalid-input", what, hint === undefined ? {} : { hint });
}

function unknownShape(source: string, found: string): OciNixError {
  return new OciNixError("invalid-input", `${source} is not a closure graph: ${found}`, { hint: ACCEPTED_CLOSURES });
}
