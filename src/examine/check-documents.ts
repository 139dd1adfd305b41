import { sha256 } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, JsonNumber, type JsonObject } from "../core/json.js";
import { isRfc3339 } from "../core/timestamp.js";
import { containerConfigProblems } from "../oci/container-config.js";
import { compressionOfMediaType, type Descriptor } from "../oci/manifest.js";
import type { Document, StoredImage } from "../transport/image.js";
import { arrayMember, layerHistory, member, parseObject, textMember } from "./documents.js";
import type { Findings } from "./findings.js";

/** Larger JSON documents are refused by containerd and Docker. */
const MAX_JSON = 20 * 1024 * 1024;
/** More layers than that: Docker's overlay driver fails; and where it begins to be near. */
const MAX_LAYERS = 125;
const MANY_LAYERS = 100;

/** Checks manifest and config: each by itself, and against each other. */
export function checkDocuments(image: StoredImage, findings: Findings): void {
  const manifest = image.manifest === undefined ? undefined : checkDocument("manifest", image.manifest, findings);
  const config = checkDocument("config", image.config, findings);
  if (manifest !== undefined) checkManifest(image, manifest, findings);
  if (config !== undefined) checkConfig(image, config, findings);
  checkLayerCount(image.layers.length, findings);
}

function checkDocument(where: string, { descriptor, bytes }: Document, findings: Findings): JsonObject | undefined {
  checkDescriptor(where, descriptor, bytes, findings);
  if (bytes.length > MAX_JSON) {
    const message = `it has ${bytes.length} bytes, more than the ${MAX_JSON} that clients take`;
    findings.add("error", "json-size", where, message, ["docker", "containerd"]);
  }
  try {
    return parseObject(bytes, where);
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    findings.add("error", "json", where, error.message);
    return undefined;
  }
}

function checkDescriptor(where: string, { digest, size }: Descriptor, bytes: Uint8Array, findings: Findings): void {
  const found = sha256(bytes);
  if (found !== digest) findings.add("error", "digest", where, `its digest is ${found}, not ${digest} as recorded`);
  if (bytes.length !== size)
    findings.add("error", "size", where, `it has ${bytes.length} bytes, not ${size} as recorded`);
}

function checkManifest(image: StoredImage, manifest: JsonObject, findings: Findings): void {
  const add = (message: string) => findings.add("error", "manifest", "manifest", message);
  const version = member(manifest, "schemaVersion");
  if (numberOf(version) !== 2) add(`schemaVersion is ${JSON.stringify(version) ?? "missing"}, not 2`);
  const recorded = textMember(manifest, "config", "digest");
  const { digest } = image.config.descriptor;
  if (recorded !== digest) add(`its config is ${recorded ?? "missing"}, not ${digest}`);
  const annotations = member(manifest, "annotations") ?? null;
  if (annotations !== null && !isTextMap(annotations)) add("annotations must be an object of strings");
  const layers = arrayMember(manifest, "layers");
  if (layers.length !== image.layers.length) add(`it lists ${layers.length} layers, there are ${image.layers.length}`);
  const mediaType = textMember(manifest, "mediaType") ?? image.manifest?.descriptor.mediaType ?? "";
  for (const [i, layer] of layers.entries()) {
    checkLayerType(`layer ${i + 1}`, textMember(layer, "mediaType") ?? "", mediaType, findings);
  }
  const byZstd = layers.filter(
    (layer) => compressionOfMediaType(textMember(layer, "mediaType") ?? "") === "zstd",
  ).length;
  if (byZstd > 0) {
    const message = `${byZstd} of ${layers.length} layers are packed by zstd, which Docker's schema 2 does not have`;
    findings.add("note", "zstd", "manifest", message, ["crane validate", "copies to Docker's schema 2"]);
  }
}

function isTextMap(value: Json): boolean {
  return isJsonObject(value) && [...value.values()].every((item) => typeof item === "string");
}

function checkLayerType(where: string, mediaType: string, manifestType: string, findings: Findings): void {
  const compression = compressionOfMediaType(mediaType);
  if (compression === undefined) {
    const isDockerZstd = mediaType.startsWith("application/vnd.docker.") && mediaType.includes("zstd");
    const reason = isDockerZstd ? "Docker's schema 2 has no zstd" : "it is no layer's";
    findings.add("error", "media-type", where, `the media type ${JSON.stringify(mediaType)}: ${reason}`);
    return;
  }
  const ofDocker = (type: string) => type.startsWith("application/vnd.docker.");
  if (ofDocker(mediaType) !== ofDocker(manifestType) && manifestType !== "") {
    findings.add("warning", "media-type", where, `${mediaType} in a manifest of the type ${manifestType}`);
  }
}

function checkConfig(image: StoredImage, config: JsonObject, findings: Findings): void {
  const add = (message: string) => findings.add("error", "config", "config", message);
  const type = textMember(config, "rootfs", "type");
  if (type !== "layers") add(`rootfs.type is ${JSON.stringify(type) ?? "missing"}, not "layers"`);
  for (const problem of shapeProblems(config)) findings.add("error", "config", "config", problem, GO_CLIENTS);
  const diffIds = arrayMember(config, "rootfs", "diff_ids");
  if (diffIds.length !== image.layers.length) {
    const message = `rootfs.diff_ids has ${diffIds.length} entries for ${image.layers.length} layers`;
    findings.add("error", "config", "config", message, ["docker", "podman/skopeo", "containerd"]);
  }
  for (const key of ["os", "architecture"]) {
    if (textMember(config, key)) continue;
    findings.add("warning", "platform", "config", `${key} is missing`, ["containerd"]);
  }
  const history = layerHistory(config).length;
  if (history !== image.layers.length && arrayMember(config, "history").length > 0) {
    const message = `history speaks of ${history} layers, there are ${image.layers.length}`;
    // Clients load a short history; a long one has no layer to go with.
    if (history < image.layers.length) findings.add("note", "history", "config", message);
    else findings.add("warning", "history", "config", message, ["podman/skopeo"]);
  }
}

/** What decodes into types of its own, and refuses other shapes. */
const GO_CLIENTS = ["docker", "podman/skopeo", "containerd", "umoci"];

function shapeProblems(config: JsonObject): readonly string[] {
  const problems: string[] = [];
  const inner = config.get("config") ?? null;
  if (inner !== null) problems.push(...containerConfigProblems(inner, "config"));
  for (const key of ["architecture", "os", "variant", "author"]) checkText(config.get(key), key);
  checkTime(config.get("created"), "created");
  const history = config.get("history") ?? null;
  if (history !== null && !Array.isArray(history)) problems.push("history must be an array");
  for (const [i, entry] of arrayMember(config, "history").entries()) {
    const where = `history[${i}]`;
    if (!isJsonObject(entry)) {
      problems.push(`${where} must be an object`);
      continue;
    }
    for (const key of ["created_by", "author", "comment"]) checkText(entry.get(key), `${where}.${key}`);
    checkTime(entry.get("created"), `${where}.created`);
    const isEmpty = entry.get("empty_layer") ?? false;
    if (typeof isEmpty !== "boolean") problems.push(`${where}.empty_layer must be true or false`);
  }
  return problems;

  function checkText(value: Json | undefined, where: string): void {
    if (value !== undefined && value !== null && typeof value !== "string") problems.push(`${where} must be a string`);
  }

  function checkTime(value: Json | undefined, where: string): void {
    if (value === undefined || value === null) return;
    // Go takes RFC 3339 and nothing else.
    if (typeof value !== "string" || !isRfc3339(value))
      problems.push(`${where} must be a time such as 1970-01-01T00:00:01Z`);
  }
}

function checkLayerCount(count: number, findings: Findings): void {
  if (count > MAX_LAYERS) {
    const message = `there are ${count} layers, more than ${MAX_LAYERS}`;
    findings.add("error", "layer-count", "config", message, ["docker", "podman/skopeo (from 129)"]);
  } else if (count > MANY_LAYERS) {
    const message = `there are ${count} layers; Docker takes ${MAX_LAYERS}, those of images built on this one included`;
    findings.add("note", "layer-count", "config", message, ["docker"]);
  }
}

function numberOf(value: Json | undefined): number | undefined {
  return value instanceof JsonNumber ? Number(value.text) : undefined;
}
