import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import { storePathsOf } from "./plan.js";
import { planLayers } from "./plan-layers.js";
import type { PreviousLayout } from "./previous.js";

/** What one release pushes. */
export interface Release {
  readonly uploaded: number;
  readonly ideal: number;
  readonly layers: number;
  readonly kept: number;
}

/** Plans each closure in turn and sums NAR bytes of layers no earlier release had; ideal: NAR bytes of store paths no earlier release had. */
export function replay(
  closures: readonly Closure[],
  options: {
    readonly strategy: string;
    readonly maxLayers: number;
    readonly exclude?: ReadonlySet<StorePath>;
    readonly follow: boolean;
  },
): readonly Release[] {
  const { follow, exclude = new Set(), ...planning } = options;
  const layersSeen = new Set<string>();
  const pathsSeen = new Set<StorePath>();
  let previous: PreviousLayout | undefined;
  return closures.map((closure) => {
    const sizeOf = (path: StorePath) => closure.objects.get(path)?.narSize ?? 0;
    const shipped = new Set([...exclude].filter((path) => closure.objects.has(path)));
    const plans = planLayers(closure, { ...planning, exclude: shipped, previous: follow ? previous : undefined });
    let [uploaded, ideal, kept] = [0, 0, 0];
    for (const storePaths of plans.map(storePathsOf)) {
      const key = [...storePaths].sort().join(" ");
      if (layersSeen.has(key)) kept++;
      else for (const path of storePaths) uploaded += sizeOf(path);
      layersSeen.add(key);
      for (const path of storePaths) {
        if (!pathsSeen.has(path)) ideal += sizeOf(path);
        pathsSeen.add(path);
      }
    }
    previous = { source: "the release before", layers: plans.map((plan) => ({ storePaths: storePathsOf(plan) })) };
    return { uploaded, ideal, layers: plans.length, kept };
  });
}
