import { type Item, itemsOf, type PageData } from "./data.js";
import { chanceStep, FATES, formatBytes, formatChance, shortName } from "./format.js";
import { type Relations, relationsOf } from "./graph.js";

/** What is shown, and what is known of it. */
export interface View {
  readonly data: PageData;
  readonly items: readonly Item[];
  readonly relations: Relations;
  readonly roots: ReadonlySet<number>;
  /** The first item of each store path that has one: those that are excluded have none. */
  readonly itemOf: ReadonlyMap<number, number>;
  /** What `search` looks at, by store path: the base name in lower case. */
  readonly haystack: readonly string[];
}

/** Items that are pointed at: one, or those of a tile that stands for several. */
export type Selection = readonly number[];

export function viewOf(data: PageData): View {
  const items = itemsOf(data);
  return {
    data,
    items,
    // Later entries win.
    itemOf: new Map([...items.entries()].reverse().map(([index, { path }]) => [path, index])),
    relations: relationsOf(data.references),
    roots: new Set(data.roots),
    haystack: data.paths.map((name) => name.toLowerCase()),
  };
}

/** Bytes of items; those that nobody knows count nothing. */
export function sizeOf({ data, items }: View, selection: Selection): number {
  return selection.reduce((sum, index) => sum + (data.sizes[items[index]?.path ?? -1] ?? 0), 0);
}

/** The class that colours an item. */
export function colourOf({ data, items }: View, index: number): string {
  const item = items[index] as Item;
  return item.fate === undefined ? `chance-${chanceStep(data.chances[item.path] ?? 0)}` : `fate-${item.fate}`;
}

/** A background of the colours of several items, each as wide as their share. */
export function blend(view: View, selection: Selection): string {
  const shares = new Map<string, number>();
  for (const index of selection) {
    const [kind = "", name = ""] = colourOf(view, index).split("-");
    const colour = kind === "chance" ? `var(--step${name})` : `var(--${name})`;
    // What has no size is seen all the same.
    shares.set(colour, (shares.get(colour) ?? 0) + Math.max(sizeOf(view, [index]), 1));
  }
  const total = [...shares.values()].reduce((sum, share) => sum + share, 0);
  let at = 0;
  const stops = [...shares].sort().map(([colour, share]) => {
    const from = at;
    at += (share / total) * 100;
    return `${colour} ${from.toFixed(2)}% ${at.toFixed(2)}%`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** An item in words. */
export function describe(view: View, index: number): string {
  const { path, layer, fate } = view.items[index] as Item;
  const { paths, sizes, chances } = view.data;
  const state = fate === undefined ? `changes in ${formatChance(chances[path] ?? 0)} of releases` : FATES[fate].words;
  return `${shortName(paths[path] ?? "")}, ${formatBytes(sizes[path] ?? null)}, layer ${layer + 1}, ${state}`;
}
