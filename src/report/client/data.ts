/** What becomes of a store path in an update. */
export type ItemFate = "kept" | "again" | "changed" | "new";

export interface LayerData {
  readonly reason: string;
  /** NAR bytes; null where nobody knows. */
  readonly size: number | null;
  /** Chance 0..1 that a release pushes it again. */
  readonly chance: number;
  /** Bytes that a release is expected to push again for it. */
  readonly expected: number;
  /** What it holds: indexes of store paths. */
  readonly items: readonly number[];
  /** One an item; absent without a previous image. */
  readonly fates?: readonly ItemFate[];
  readonly isKept?: boolean;
}

/** A plan as the page gets it. */
export interface PageData {
  readonly storeDir: string;
  /** Base names, sorted. */
  readonly paths: readonly string[];
  /** NAR bytes, by store path; null where nobody knows. */
  readonly sizes: readonly (number | null)[];
  /** Chance 0..1 that a release changes it, by store path. */
  readonly chances: readonly number[];
  /** Indexes of what each refers to, itself excepted. */
  readonly references: readonly (readonly number[])[];
  readonly roots: readonly number[];
  /** Bottom first. */
  readonly layers: readonly LayerData[];
  readonly hasPrevious: boolean;
}

/** A store path in a layer. */
export interface Item {
  readonly path: number;
  readonly layer: number;
  readonly fate: ItemFate | undefined;
}

/** All items, bottom layer first. */
export function itemsOf({ layers }: PageData): readonly Item[] {
  return layers.flatMap(({ items, fates }, layer) => items.map((path, i) => ({ path, layer, fate: fates?.[i] })));
}
