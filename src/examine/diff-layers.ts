import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { commonSubsequence } from "./sequences.js";

/** A layer of one of the images. */
export interface LayerPlace {
  /** From 1. */
  readonly layer: number;
  readonly diffId: Digest;
  /** Bytes, as stored. */
  readonly size: number;
}

/** How a layer that both images have is stored. */
export interface LayerBlob {
  readonly digest: Digest | null;
  readonly size: number;
  readonly compression: CompressionName;
}

/** What layers two images differ in. */
export interface LayersDiff {
  /** Count of layers that both have in the same order. */
  readonly same: number;
  readonly removed: readonly LayerPlace[];
  readonly added: readonly LayerPlace[];
  /** In both, but among other layers. */
  readonly moved: readonly { readonly diffId: Digest; readonly before: number; readonly after: number }[];
  /** Layers that both have in the same order, stored as other bytes: no difference of the images. */
  readonly repacked: readonly { readonly diffId: Digest; readonly before: LayerBlob; readonly after: LayerBlob }[];
}

/** Compares layers by diffID. @returns also the places of those that differ or moved, in each image */
export function diffLayers(
  a: StoredImage,
  b: StoredImage,
): { readonly layers: LayersDiff; readonly ownOfA: ReadonlySet<number>; readonly ownOfB: ReadonlySet<number> } {
  const common = commonSubsequence(
    a.layers.map(({ diffId }) => diffId),
    b.layers.map(({ diffId }) => diffId),
  );
  const ownOfA = new Set([...a.layers.keys()].filter((i) => !common.a.has(i)));
  const ownOfB = new Set([...b.layers.keys()].filter((i) => !common.b.has(i)));
  const waiting = new Map<Digest, number[]>();
  for (const i of ownOfB) {
    const { diffId } = b.layers[i] as StoredLayer;
    waiting.set(diffId, [...(waiting.get(diffId) ?? []), i]);
  }
  const moved: { diffId: Digest; before: number; after: number }[] = [];
  const removed: LayerPlace[] = [];
  for (const i of ownOfA) {
    const layer = a.layers[i] as StoredLayer;
    const j = waiting.get(layer.diffId)?.shift();
    if (j === undefined) removed.push(placeOf(layer, i));
    else moved.push({ diffId: layer.diffId, before: i + 1, after: j + 1 });
  }
  const stayed = new Set(moved.map(({ after }) => after - 1));
  const added = [...ownOfB].filter((j) => !stayed.has(j)).map((j) => placeOf(b.layers[j] as StoredLayer, j));
  const partners = zip([...common.a].sort(ascending), [...common.b].sort(ascending));
  const repacked = partners
    .map(([i, j]) => {
      const layer = a.layers[i] as StoredLayer;
      return { diffId: layer.diffId, before: blobOf(layer), after: blobOf(b.layers[j] as StoredLayer) };
    })
    .filter(({ before, after }) => isOther(before, after));
  return { layers: { same: partners.length, removed, added, moved, repacked }, ownOfA, ownOfB };
}

function placeOf({ diffId, blob }: StoredLayer, index: number): LayerPlace {
  return { layer: index + 1, diffId, size: blob.size };
}

function blobOf({ descriptor, blob, compression }: StoredLayer): LayerBlob {
  return { digest: descriptor?.digest ?? null, size: descriptor?.size ?? blob.size, compression };
}

function isOther(a: LayerBlob, b: LayerBlob): boolean {
  if (a.digest === null || b.digest === null) return a.size !== b.size || a.compression !== b.compression;
  return a.digest !== b.digest;
}

function ascending(a: number, b: number): number {
  return a - b;
}

function zip(a: readonly number[], b: readonly number[]): readonly (readonly [number, number])[] {
  return a.map((i, at) => [i, b[at] as number]);
}
