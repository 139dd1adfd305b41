import type { Spread } from "./measure.mjs";

/** A Markdown table; the first column to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "--:"))), ...rows.map(line)].join("\n");
}

export function seconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}

export function milliseconds(value: number): string {
  return (value * 1000).toFixed(0);
}

export function megabytes(kibibytes: number): string {
  return ((kibibytes * 1024) / 1e6).toFixed(0);
}

export function spread(value: Spread, format: (value: number) => string): string {
  return `${format(value.min)}–${format(value.max)}`;
}

export function ratio(value: number, other: number | undefined): string {
  return other === undefined ? "" : (value / other).toFixed(2);
}

/** `1,234,567` */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}
