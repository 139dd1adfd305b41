import type { References } from "./references.js";

/** Sets of small integers, one a row: 32 in a word. */
export class BitRows {
  /** Words of a row. */
  readonly words: number;
  readonly #bits: Uint32Array;

  constructor(rows: number, columns: number) {
    this.words = (columns + 31) >>> 5;
    this.#bits = new Uint32Array(rows * this.words);
  }

  /** A view of a row. */
  row(index: number): Uint32Array {
    return this.#bits.subarray(index * this.words, (index + 1) * this.words);
  }

  set(index: number, column: number): void {
    const at = index * this.words + (column >>> 5);
    this.#bits[at] = (this.#bits[at] as number) | (1 << (column & 31));
  }

  /** Adds all of another set to a row. */
  add(index: number, other: Uint32Array): void {
    addTo(this.row(index), other);
  }
}

/** Adds all of a set to another of the same length. */
export function addTo(set: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < set.length; i++) set[i] = (set[i] as number) | (other[i] as number);
}

/** Adds all of a set to another of the same length. @returns what was not in it, ascending */
export function addedTo(set: Uint32Array, other: Uint32Array): number[] {
  const added: number[] = [];
  for (let i = 0; i < set.length; i++) {
    const before = set[i] as number;
    for (let word = (other[i] as number) & ~before; word !== 0; word &= word - 1) {
      added.push(i * 32 + 31 - Math.clz32(word & -word));
    }
    set[i] = before | (other[i] as number);
  }
  return added;
}

/** The integers in a set, ascending. */
export function integersIn(set: Uint32Array): number[] {
  const integers: number[] = [];
  for (let i = 0; i < set.length; i++) {
    for (let word = set[i] as number; word !== 0; word &= word - 1)
      integers.push(i * 32 + 31 - Math.clz32(word & -word));
  }
  return integers;
}

/** For each node of a graph itself and everything it refers to, directly or not. Takes n² / 8 bytes. */
export function reachOf(references: References, topological: readonly number[]): BitRows {
  const reach = new BitRows(references.length, references.length);
  for (const node of topological.toReversed()) {
    reach.set(node, node);
    for (const target of references[node] as readonly number[]) reach.add(node, reach.row(target));
  }
  return reach;
}
