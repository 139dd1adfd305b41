import type { Descriptor } from "../oci/manifest.js";
import type { ImageTarget } from "./image.js";

/** Gets a blob, as {@link ImageTarget.follow} has it. */
export type Follow = (blob: Descriptor) => void;

/** How a target gets a blob from one of these; undefined where it cannot. */
export function followOneOf(others: readonly ImageTarget[], target: ImageTarget): Follow | undefined {
  for (const other of others) {
    const follow = target.follow?.(other);
    if (follow !== undefined) return follow;
  }
  return undefined;
}

/** Targets that lack a blob: those that it is to be written to, and how the others get it from these. */
export function splitFollowing(targets: readonly ImageTarget[]): {
  readonly leading: readonly ImageTarget[];
  readonly following: readonly Follow[];
} {
  const leading: ImageTarget[] = [];
  const following: Follow[] = [];
  for (const target of targets) {
    const follow = followOneOf(leading, target);
    if (follow === undefined) leading.push(target);
    else following.push(follow);
  }
  return { leading, following };
}
