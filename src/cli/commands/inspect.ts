import { formatJson, type InspectedImage, inspectImages, isJsonObject, type Json, toJson } from "../../index.js";
import type { Invocation } from "../command.js";
import { placesOf, withSource } from "../sources.js";
import { formatBytes, printOutput, visible } from "../ui.js";

/** Prints what the images of a place are made of. */
export default async function inspect({ inputs, flags, signal }: Invocation): Promise<void> {
  const [place] = placesOf(inputs, 1) as [string];
  const images = await withSource(place, { flags, signal }, "every", async (source) => inspectImages(source));
  const result = flags.json === true ? `${formatJson(toJson({ images }))}\n` : images.map(describe).join("\n");
  await printOutput(result, signal);
}

function describe(image: InspectedImage): string {
  const { names, manifest, configDescriptor, platform, created, layers, size } = image;
  const { os, architecture, variant } = platform;
  const rows: (readonly [string, string])[] = [
    ["name", names.length === 0 ? "none" : names.join(", ")],
    ["manifest", manifest === null ? "none" : `${manifest.digest} (${manifest.size} B, ${manifest.mediaType})`],
    ["config", `${configDescriptor.digest} (${configDescriptor.size} B)`],
    ["platform", [os ?? "?", architecture ?? "?", ...(variant === null ? [] : [variant])].join("/")],
    ["created", created ?? "not recorded"],
    ...settingsOf(image.config.get("config")),
    ["layers", `${layers.length}, ${formatBytes(size)} as stored`],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  const head = rows.map(([label, value]) => `${label.padEnd(width)}  ${visible(value)}\n`).join("");
  return head + layers.map(describeLayer).join("");
}

function settingsOf(config: Json | undefined): (readonly [string, string])[] {
  if (!isJsonObject(config)) return [];
  return [...config].flatMap(([key, value]): (readonly [string, string])[] => {
    if (value === null || value === "" || value === false) return [];
    if (key === "Env" && Array.isArray(value)) {
      return value.map((variable) => ["Env", typeof variable === "string" ? variable : formatJson(variable)]);
    }
    return [[key, typeof value === "string" ? value : formatJson(value)]];
  });
}

function describeLayer(layer: InspectedImage["layers"][number], index: number): string {
  const { size, mediaType, compression, codec, diffId, digest, history, storePaths } = layer;
  const packed = codec ?? (compression === "none" ? "not compressed" : compression);
  const lines = [
    `${String(index + 1).padStart(3)}  ${formatBytes(size).padStart(9)}  ${packed}${mediaType === null ? "" : `, ${mediaType}`}`,
    ...(digest === null || digest === diffId ? [] : [`     digest ${digest}`]),
    `     diffID ${diffId}`,
  ];
  if (storePaths !== null) lines.push(...storePaths.map((path) => `     ${path}`));
  else if (isJsonObject(history)) {
    for (const key of ["created_by", "comment"]) {
      const value = history.get(key);
      if (typeof value === "string" && value !== "") lines.push(`     ${value}`);
    }
  }
  return lines.map((line) => `${visible(line)}\n`).join("");
}
