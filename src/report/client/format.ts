import type { ItemFate } from "./data.js";

/** `1.5 MB`: decimal units, as registries and docker count. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return "unknown";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 9.995 ? 2 : 1)} ${units[unit]}`;
}

/** `3 %`, `<1 %`. */
export function formatChance(chance: number): string {
  const value = chance * 100;
  return value > 0 && value < 0.5 ? "<1 %" : `${Math.round(value)} %`;
}

/** `1,234`, whatever the browser's language. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 store path`, `2 store paths`. */
export function counted(count: number, thing: string): string {
  return `${formatCount(count)} ${thing}${count === 1 ? "" : "s"}`;
}

/** A base name without its hash. */
export function shortName(baseName: string): string {
  return baseName.slice(baseName.indexOf("-") + 1);
}

/** Sign and words for a fate, so that colour is not all that tells. */
export const FATES: Readonly<Record<ItemFate, { readonly sign: string; readonly words: string }>> = {
  kept: { sign: "=", words: "kept" },
  again: { sign: "\u21bb", words: "sent again" },
  changed: { sign: "\u0394", words: "changed" },
  new: { sign: "+", words: "new" },
};

/** Lowest chances of the steps in which chances are shown. */
export const CHANCE_STEPS: readonly number[] = [0, 0.02, 0.1, 0.25, 0.5];

/** The step of a chance, from 0. */
export function chanceStep(chance: number): number {
  return CHANCE_STEPS.findLastIndex((least) => chance >= least);
}
