import { createHash } from "node:crypto";

/** Numbers that look like chance, always the same ones for a seed. */
export class Random {
  readonly #seed: string;
  #drawn = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** From 0 to less than 1. */
  next(): number {
    const hash = createHash("sha256")
      .update(`${this.#seed} ${this.#drawn++}`)
      .digest();
    return hash.readUIntBE(0, 6) / 2 ** 48;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[this.between(0, items.length - 1)] as T;
  }
}
