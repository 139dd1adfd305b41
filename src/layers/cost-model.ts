import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";

/** What releases are expected to cost: a change at a store path renames every path that refers to it. */
export class CostModel {
  readonly #objects: Closure["objects"];

  constructor(closure: Pick<Closure, "objects">) {
    this.#objects = closure.objects;
  }

  /** Chance 0..1 that a release changes at least one of these store paths. */
  chanceOfChange(paths: Iterable<StorePath>): number {
    const found = new Set<StorePath>();
    const pending = [...paths];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (found.has(path)) continue;
      found.add(path);
      pending.push(...(this.#objects.get(path)?.references ?? []));
    }
    return 1 - (1 - 1 / Math.max(this.#objects.size, 2)) ** found.size;
  }

  /** Bytes a release is expected to push again for a layer of these. */
  expectedBytes(paths: Iterable<StorePath>): number {
    const all = [...paths];
    const bytes = all.reduce((sum, path) => sum + (this.#objects.get(path)?.narSize ?? 0), 0);
    return bytes * this.chanceOfChange(all);
  }
}
