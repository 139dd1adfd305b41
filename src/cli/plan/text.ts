import { formatBytes, visible } from "../ui.js";

/** A size for people; `?` where nobody knows. */
export function size(bytes: number | undefined): string {
  return bytes === undefined ? "?" : formatBytes(Math.round(bytes));
}

/** `+1.20 MB`, `-300 kB`, `0 B`. */
export function difference(bytes: number): string {
  const rounded = Math.round(bytes);
  return rounded > 0 ? `+${formatBytes(rounded)}` : rounded < 0 ? `-${formatBytes(-rounded)}` : "0 B";
}

/** `3 %`, `<1 %`; of a ratio, not of per cents. */
export function percent(fraction: number | undefined): string {
  if (fraction === undefined) return "?";
  const value = fraction * 100;
  return value > 0 && value < 0.5 ? "<1 %" : `${Math.round(value)} %`;
}

/** `1 layer`, `2 layers`. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

/** Rows under a heading, in columns: those named in `right` are aligned right, the last is as wide as it likes. */
export function columns(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<string>,
): string {
  const all = [heading, ...rows].map((row) => row.map(visible));
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const width = widths[i] as number;
        return right.has(heading[i] as string) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  return all.map((row) => `${line(row)}\n`).join("");
}
