import { isJsonObject, type Json, type JsonObject } from "../core/json.js";
import type { StoredImage } from "../transport/image.js";
import { parseDocument } from "../transport/stored-files.js";

/** A document's JSON object, empty where it is something else. @throws OciNixError `invalid-input` where it is no JSON */
export function parseObject(bytes: Uint8Array, where: string): JsonObject {
  const value = parseDocument(bytes, where);
  return isJsonObject(value) ? value : new Map();
}

/** What people call an image of a source: its names, or its place among the images. */
export function imageTitle(image: StoredImage, index: number): string {
  return image.names.length === 0 ? `image ${index + 1}` : image.names.join(", ");
}

export function member(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  let at = value;
  for (const key of keys) at = isJsonObject(at) ? at.get(key) : undefined;
  return at;
}

export function textMember(value: Json | undefined, ...keys: readonly string[]): string | undefined {
  const found = member(value, ...keys);
  return typeof found === "string" ? found : undefined;
}

export function arrayMember(value: Json | undefined, ...keys: readonly string[]): readonly Json[] {
  const found = member(value, ...keys);
  return Array.isArray(found) ? (found as readonly Json[]) : [];
}

/** The history entries that speak of a layer, in the layers' order. */
export function layerHistory(config: JsonObject): readonly Json[] {
  return arrayMember(config, "history").filter((entry) => member(entry, "empty_layer") !== true);
}

/** The store paths that a history entry of nixpkgs or of ours lists; undefined where it lists none. */
export function storePathsIn(history: Json | undefined): readonly string[] | undefined {
  const list = /^store paths(?:, moved or changed)?: \[(.*)\]$/s.exec(textMember(history, "comment") ?? "");
  if (list === null) return undefined;
  return [...(list[1] as string).matchAll(/'([^'\\]*)'|"([^"\\]*)"/g)].map(([, a, b]) => (a ?? b) as string);
}
