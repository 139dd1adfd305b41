import {
  diffImages,
  type FieldChange,
  type FileChange,
  type FileItem,
  type FilesDiff,
  formatJson,
  type ImagesDiff,
  type LayersDiff,
  onlyImage,
  toJson,
} from "../../index.js";
import type { Invocation } from "../command.js";
import { placesOf, withSource } from "../sources.js";
import { formatBytes, printOutput, visible } from "../ui.js";

/** Exit code for images that differ; equal ones end with 0. */
const DIFFERENT = 3;
/** Files of a kind that are listed, unless all are wanted. */
const MAX_LISTED = 50;

/** Compares two images and prints what differs. */
export default async function diff({ inputs, flags, signal }: Invocation): Promise<number> {
  const [placeA, placeB] = placesOf(inputs, 2) as [string, string];
  const found = await withSource(placeA, { flags, signal }, undefined, (a) =>
    withSource(placeB, { flags, signal }, undefined, (b) =>
      diffImages(onlyImage(a, placeA), onlyImage(b, placeB), signal),
    ),
  );
  const limit = flags.all === true ? Number.POSITIVE_INFINITY : MAX_LISTED;
  await printOutput(flags.json === true ? `${formatJson(toJson(found))}\n` : describe(found, limit), signal);
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

function describeConfig(changes: readonly FieldChange[]): string[] {
  return changes.map(({ field, before, after }) => {
    if (field === "history") return "config  ~ history";
    if (before === null) return `config  + ${field} = ${formatJson(after)}`;
    if (after === null) return `config  - ${field} = ${formatJson(before)}`;
    return `config  ~ ${field}: ${formatJson(before)} -> ${formatJson(after)}`;
  });
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

function describeFiles({ added, removed, changed }: FilesDiff, limit: number): string[] {
  return [
    ...group("removed", "-", removed, describeItem, sizeOf(removed), limit),
    ...group("added", "+", added, describeItem, sizeOf(added), limit),
    ...group("changed", "~", changed, describeChange, growthOf(changed), limit),
  ];
}

function group<T>(
  title: string,
  sign: string,
  items: readonly T[],
  describeOne: (item: T) => string,
  size: string,
  limit: number,
): string[] {
  if (items.length === 0) return [];
  const lines = items.slice(0, limit).map((item) => `file    ${sign} ${describeOne(item)}`);
  const rest = items.length - lines.length;
  const more = rest > 0 ? [`file    ${sign} and ${rest} more (--all lists them)`] : [];
  return [`files ${title}: ${items.length}, ${size}`, ...lines, ...more];
}

function describeItem({ path, type, size }: FileItem): string {
  return `${path}${type === "file" ? `, ${formatBytes(size)}` : ` (${type})`}`;
}

function describeChange({ path, changes }: FileChange): string {
  const parts = changes.map(({ attribute, before, after }) =>
    attribute === "content" || attribute === "xattrs"
      ? attribute
      : `${attribute} ${before || "none"} -> ${after || "none"}`,
  );
  return `${path}: ${parts.join(", ")}`;
}

function sizeOf(items: readonly FileItem[]): string {
  return formatBytes(items.reduce((sum, { size }) => sum + size, 0));
}

function growthOf(changes: readonly FileChange[]): string {
  const growth = changes.reduce((sum, { sizeBefore, sizeAfter }) => sum + sizeAfter - sizeBefore, 0);
  return `${growth < 0 ? "-" : "+"}${formatBytes(Math.abs(growth))}`;
}
