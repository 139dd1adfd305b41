import type { ByteString } from "../core/byte-string.js";
import { parentOf, parentsOf } from "./entry-path.js";

/** `implied`: a directory that something lies in, and that has no entry. */
export type Kind = "implied" | "directory" | "symlink" | "linkable";

const KINDS: readonly Kind[] = ["implied", "directory", "symlink", "linkable"];

/** Why nothing can lie in a path. */
export interface Obstacle {
  readonly path: ByteString;
  /** `hidden`: the layer hides it, and has no entry that is a directory instead. */
  readonly kind: "symlink" | "linkable" | "hidden";
  /** It is of the newest layer. */
  readonly isHere: boolean;
}

/**
 * What the layers up to the newest one have at each path, and what they hide of each other. Memory grows with the paths of all layers. In
 * the newest one, what hides counts from when it is told.
 */
export class KnownPaths {
  /** From 1. */
  #layer = 0;
  /** The newest layer that has something there, times four, and the index of what it is. */
  readonly #kinds = new Map<ByteString, number>();
  /** The newest layer that hides the path, or the contents that it has in older layers. */
  readonly #hidden = new Map<ByteString, number>();
  readonly #emptied = new Map<ByteString, number>();

  /** How many paths there are in all layers. */
  get size(): number {
    return this.#kinds.size;
  }

  beginLayer(): void {
    this.#layer++;
  }

  /** What the newest layer has at a path. */
  kindHere(path: ByteString): Kind | undefined {
    const known = this.#kinds.get(path);
    return known === undefined || known >> 2 !== this.#layer ? undefined : KINDS[known & 3];
  }

  /** The newest layer has a whiteout of it. */
  isHidden(path: ByteString): boolean {
    return this.#hidden.get(path) === this.#layer;
  }

  set(path: ByteString, kind: Kind): void {
    const before = this.#kinds.get(path);
    // What a symlink or a file replaced does not come back where a directory replaces it in its turn.
    if (before !== undefined && (before & 3) > 1 && before >> 2 < this.#layer) {
      this.#emptied.set(path, Math.max(this.#emptied.get(path) ?? 0, before >> 2));
    }
    this.#kinds.set(path, this.#layer * 4 + KINDS.indexOf(kind));
  }

  hide(path: ByteString, hides: "path" | "contents"): void {
    (hides === "path" ? this.#hidden : this.#emptied).set(path, this.#layer);
  }

  /** The first of what a path lies in, from the root on, that is no directory. */
  obstacle(path: ByteString): Obstacle | undefined {
    // Layers below this one do not count any more.
    let oldest = this.#emptied.get("") ?? 0;
    for (const at of parentsOf(path)) {
      const hidden = this.#hidden.get(at) ?? 0;
      const known = this.#kinds.get(at) ?? 0;
      const [layer, kind] = [known >> 2, KINDS[known & 3]];
      const isHere = layer === this.#layer;
      oldest = Math.max(oldest, hidden);
      if ((kind === "symlink" || kind === "linkable") && layer >= oldest) return { path: at, kind, isHere };
      if (hidden === this.#layer && !isHere) return { path: at, kind: "hidden", isHere: true };
      oldest = Math.max(oldest, this.#emptied.get(at) ?? 0);
    }
    return undefined;
  }

  /** Notes that what a path lies in are directories of the newest layer, whether or not they have entries. */
  implyParents(path: ByteString): void {
    for (let at = parentOf(path); at !== "" && this.kindHere(at) === undefined; at = parentOf(at)) {
      this.set(at, "implied");
    }
  }
}
