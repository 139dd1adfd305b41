import type { Item, PageData } from "./data.js";
import { type Rect, squarify } from "./squarify.js";

/** A rectangle of the map that can be pointed at: one store path, or several that would be too small to see. */
export interface Tile {
  readonly rect: Rect;
  /** Indexes of items, largest first; at least one. */
  readonly items: readonly number[];
  /** Undefined where they are of several layers. */
  readonly layer: number | undefined;
}

/** A frame around the tiles of a layer that holds several store paths, or of all layers that would be too small to see. */
export interface Frame {
  readonly rect: Rect;
  readonly layer: number | undefined;
  /** Layers in it. */
  readonly count: number;
  /** Height of its heading; 0 where there is no room. */
  readonly heading: number;
}

export interface Layout {
  readonly frames: readonly Frame[];
  /** In the order in which they are read: largest layer first, and in it the largest path. */
  readonly tiles: readonly Tile[];
}

/** Square pixels below which layers and store paths are put together. */
const SMALL_LAYER = 220;
const SMALL_PATH = 90;
/** Of the area at least, for what is put together to be hit with a finger. */
const LEAST_SHARE = 0.004;
const HEADING = 18;
const LAYER_GAP = 2;

/** Lays all items out on an area of so many pixels: layers by size, and in each its store paths. */
export function layOut(data: PageData, items: readonly Item[], width: number, height: number): Layout {
  const weights = items.map(({ path }) => Math.max(data.sizes[path] ?? 0, 1));
  const byLayer = data.layers.map((): number[] => []);
  for (const [index, { layer }] of items.entries()) byLayer[layer]?.push(index);
  const weightOf = (members: readonly number[]) => members.reduce((sum, index) => sum + (weights[index] as number), 0);
  const layers = byLayer
    .map((members, layer) => ({ layer, members: [...members].sort(byWeight(weights)), weight: weightOf(members) }))
    .filter(({ members }) => members.length > 0)
    .sort((a, b) => b.weight - a.weight || a.layer - b.layer);
  const total = layers.reduce((sum, { weight }) => sum + weight, 0);
  const pixels = (width * height) / total;
  const large = layers.filter(({ weight }) => weight * pixels >= SMALL_LAYER);
  const small = layers.slice(large.length);
  const groups: {
    readonly layer: number | undefined;
    readonly count: number;
    readonly members: number[];
    weight: number;
  }[] = large.map((each) => ({ ...each, count: 1 }));
  if (small.length === 1) groups.push({ ...(small[0] as (typeof small)[number]), count: 1 });
  if (small.length > 1) {
    const members = small.flatMap((each) => each.members).sort(byWeight(weights));
    const weight = Math.max(
      small.reduce((sum, each) => sum + each.weight, 0),
      total * LEAST_SHARE,
    );
    groups.push({ layer: undefined, count: small.length, members, weight });
  }
  const rects = squarify(
    groups.map(({ weight }) => weight),
    { x: 0, y: 0, width, height },
  );
  const frames: Frame[] = [];
  const tiles: Tile[] = [];
  for (const [i, { layer, count, members }] of groups.entries()) {
    const outer = inset(rects[i] as Rect, LAYER_GAP);
    if (count > 1) {
      tiles.push({ rect: outer, items: members, layer: undefined });
      continue;
    }
    if (members.length === 1) {
      tiles.push({ rect: outer, items: members, layer });
      continue;
    }
    const heading = outer.height > 2.5 * HEADING && outer.width > 60 ? HEADING : 0;
    frames.push({ rect: outer, layer, count, heading });
    const inner = { ...inset(outer, 2), y: outer.y + (heading || 2), height: outer.height - (heading || 2) - 2 };
    tiles.push(...tilesOf(members, weights, inner).map((tile) => ({ ...tile, layer })));
  }
  return { frames, tiles };
}

function tilesOf(members: readonly number[], weights: readonly number[], rect: Rect): Omit<Tile, "layer">[] {
  const total = members.reduce((sum, index) => sum + (weights[index] as number), 0);
  const pixels = (rect.width * rect.height) / total;
  const isLarge = (index: number) => (weights[index] as number) * pixels >= SMALL_PATH;
  const firstSmall = members.findIndex((index) => !isLarge(index));
  // One alone is no group.
  const alone = firstSmall === -1 || firstSmall === members.length - 1 ? members.length : firstSmall;
  const groups = members.slice(0, alone).map((index) => ({ items: [index], weight: weights[index] as number }));
  if (alone < members.length) {
    const items = members.slice(alone);
    const weight = items.reduce((sum, index) => sum + (weights[index] as number), 0);
    groups.push({ items, weight: Math.max(weight, Math.min(400 / pixels, total / 8)) });
  }
  const rects = squarify(
    groups.map(({ weight }) => weight),
    rect,
  );
  return groups.map(({ items }, i) => ({ items, rect: rects[i] as Rect }));
}

function byWeight(weights: readonly number[]): (a: number, b: number) => number {
  return (a, b) => (weights[b] as number) - (weights[a] as number) || a - b;
}

function inset({ x, y, width, height }: Rect, by: number): Rect {
  return { x: x + by / 2, y: y + by / 2, width: Math.max(width - by, 1), height: Math.max(height - by, 1) };
}
