import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import { storePathsOf } from "./plan.js";
import { planLayers } from "./plan-layers.js";
import { type PreviousLayout, storePathsKey } from "./previous.js";

/** What one release of a chain costs. */
export interface Release {
  /** NAR bytes of the layers that no earlier release had. */
  readonly uploaded: number;
  /** NAR bytes of the store paths that no earlier release had. */
  readonly ideal: number;
  readonly layers: number;
  /** Layers that an earlier release had. */
  readonly kept: number;
}

/**
 * Plans one closure after the other, and says what pushing each would send to a registry that has all before it.
 * @param options.follow whether each is planned with the one before as its previous image
 */
export function replay(
  closures: readonly Closure[],
  options: {
    readonly strategy: string;
    readonly maxLayers: number;
    readonly exclude?: ReadonlySet<StorePath>;
    readonly follow: boolean;
  },
): readonly Release[] {
  const { follow, ...planning } = options;
  const layersThere = new Set<string>();
  const pathsThere = new Set<StorePath>();
  let previous: PreviousLayout | undefined;
  return closures.map((closure) => {
    const plans = planLayers(closure, { ...planning, previous: follow ? previous : undefined }).map(storePathsOf);
    const bytes = (paths: readonly StorePath[]) =>
      paths.reduce((sum, path) => sum + (closure.objects.get(path)?.narSize ?? 0), 0);
    const fresh = plans.filter((paths) => !layersThere.has(storePathsKey(paths)));
    const release = {
      uploaded: fresh.reduce((sum, paths) => sum + bytes(paths), 0),
      ideal: bytes(plans.flat().filter((path) => !pathsThere.has(path))),
      layers: plans.length,
      kept: plans.length - fresh.length,
    };
    for (const paths of plans) {
      layersThere.add(storePathsKey(paths));
      for (const path of paths) pathsThere.add(path);
    }
    previous = { source: "the release before", layers: plans.map((storePaths) => ({ storePaths })) };
    return release;
  });
}
