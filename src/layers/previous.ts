import { compareStrings } from "../core/errors.js";
import type { StorePath } from "../nix/store-path.js";

/** How an image that is there already is split, as far as its documents say. */
export interface PreviousLayout {
  /** What messages call the image. */
  readonly source: string;
  /** Bottom first; layers that hold no store paths at their own place, or of which nobody knows what they hold, are left out. */
  readonly layers: readonly PreviousLayer[];
}

/** A layer of the image that another one follows. */
export interface PreviousLayer {
  /** All store paths it holds, each at its own place, sorted; at least one. */
  readonly storePaths: readonly StorePath[];
  /** Bytes of its blob as it is stored; undefined where nobody says. */
  readonly size?: number | undefined;
}

/** The same for layers of the same store paths, whatever their order. */
export function storePathsKey(paths: readonly StorePath[]): string {
  return paths.toSorted(compareStrings).join(" ");
}
