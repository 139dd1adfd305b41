import { type FieldChange, type FileChange, type FileItem, type FilesDiff, formatJson } from "../index.js";
import type { FlagValues } from "./command.js";
import { formatBytes } from "./ui.js";

/** Exit code for images that differ; equal ones end with 0. */
export const DIFFERENT = 3;
/** Files of a kind that are listed, unless all are wanted. */
const MAX_LISTED = 50;

export function listLimit(flags: FlagValues): number {
  return flags.all === true ? Number.POSITIVE_INFINITY : MAX_LISTED;
}

/** A line for each field of the config that differs. */
export function describeConfig(changes: readonly FieldChange[]): string[] {
  return changes.map(({ field, before, after }) => {
    if (field === "history") return "config  ~ history";
    if (before === null) return `config  + ${field} = ${formatJson(after)}`;
    if (after === null) return `config  - ${field} = ${formatJson(before)}`;
    return `config  ~ ${field}: ${formatJson(before)} -> ${formatJson(after)}`;
  });
}

/** Lines for files. @param limit files of a kind that are listed */
export function describeFiles({ added, removed, changed }: FilesDiff, limit: number): string[] {
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
