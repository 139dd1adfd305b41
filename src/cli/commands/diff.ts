import { diffImages, formatJson, type ImagesDiff, type LayersDiff, onlyImage, toJson } from "../../index.js";
import type { Invocation } from "../command.js";
import { DIFFERENT, describeConfig, describeFiles, listLimit } from "../differences.js";
import { placesOf, withSource } from "../sources.js";
import { formatBytes, printOutput, visible } from "../ui.js";

/** Compares two images and prints what differs. */
export default async function diff({ inputs, flags, signal }: Invocation): Promise<number> {
  const [placeA, placeB] = placesOf(inputs, 2) as [string, string];
  const found = await withSource(placeA, { flags, signal }, undefined, (a) =>
    withSource(placeB, { flags, signal }, undefined, (b) =>
      diffImages(onlyImage(a, placeA), onlyImage(b, placeB), signal),
    ),
  );
  await printOutput(flags.json === true ? `${formatJson(toJson(found))}\n` : describe(found, listLimit(flags)), signal);
  return found.equal ? 0 : DIFFERENT;
}

function describe(found: ImagesDiff, limit: number): string {
  const lines = [
    ...describeConfig(found.config),
    ...describeLayers(found.layers),
    ...describeFiles(found.files, limit),
    verdict(found),
  ];
  return lines.map((line) => `${visible(line)}\n`).join("");
}

function verdict({ equal, sameBlobs, files }: ImagesDiff): string {
  if (equal) return sameBlobs ? "the images are the same" : "the blobs differ, the contents do not";
  const count = files.added.length + files.removed.length + files.changed.length;
  return count === 0 ? "the images differ, their files do not" : "the images differ";
}

function describeLayers({ same, removed, added, moved, repacked }: LayersDiff): string[] {
  const lines = [
    ...removed.map(({ layer, diffId, size }) => `layer   - ${layer}: ${diffId}, ${formatBytes(size)}`),
    ...added.map(({ layer, diffId, size }) => `layer   + ${layer}: ${diffId}, ${formatBytes(size)}`),
    ...moved.map(({ diffId, before, after }) => `layer   ~ ${before} -> ${after}: ${diffId}`),
    ...repacked.map(
      ({ diffId, before, after }) =>
        `layer   = ${diffId}: ${before.compression}, ${formatBytes(before.size)} -> ${after.compression}, ${formatBytes(after.size)}`,
    ),
  ];
  return lines.length === 0 ? [] : [...lines, `layer   = ${same} ${same === 1 ? "layer is" : "layers are"} in both`];
}
