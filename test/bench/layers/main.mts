// What releases cost with each strategy: bytes pushed ÷ bytes of the store paths that are new.
import { parseArgs } from "node:util";
import { replay, STRATEGY_NAMES, planLayers, storePathsOf } from "../../../src/index.js";
import { type Chain, chainsOf, debianChains, EVENTS, type EventName } from "./chains.mjs";
import { readArchive, closureOf, imagePackages } from "./packages.mjs";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "32,64,100" },
    strategies: { type: "string", default: STRATEGY_NAMES.join(",") },
    seeds: { type: "string", default: "3" },
    scenarios: { type: "string", default: "" },
  },
});
const archive = readArchive();
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1);
const several = (events: readonly EventName[]) => () => seeds.flatMap((seed) => chainsOf(archive, events, seed));
const SCENARIOS: Record<string, () => readonly Chain[]> = {
  ...Object.fromEntries(EVENTS.map((event) => [event, several([event])])),
  mixed: several(["app", "app", "app", "leaf", "leaf", "middle", "add", "remove", ...(["app", "leaf", "libc"] as const)]),
  small: several(["app", "app", "app", "leaf", "leaf", "middle", "add", "remove"]),
  debian: () => debianChains(archive),
};
const chosen = Object.entries(SCENARIOS).filter(([name]) => values.scenarios === "" || values.scenarios.split(",").includes(name));
const chains = new Map(chosen.map(([name, make]) => [name, make()]));
for (const maxLayers of values.layers.split(",").map(Number)) {
  console.log(`\n${maxLayers} layers`.padEnd(33), [...chains.keys(), "share"].map((name) => name.padStart(7)).join(" "));
  for (const strategy of values.strategies.split(",")) {
    for (const follow of [false, true]) {
      const cells = [...chains.values()].map((all) => {
        let uploaded = 0;
        let ideal = 0;
        let mean = 0;
        for (const { closures } of all) {
          const releases = replay(closures, { strategy, maxLayers, follow }).slice(1);
          const u = releases.reduce((sum, release) => sum + release.uploaded, 0);
          const i = releases.reduce((sum, release) => sum + release.ideal, 0);
          uploaded += u;
          ideal += i;
          mean += u / i;
        }
        return (mean / all.length).toFixed(3).padStart(7);
      });
      // sharing
      const unique = new Map<string, number>();
      const uniquePaths = new Map<string, number>();
      let total = 0;
      for (const [image, roots] of archive.images) {
        const closure = closureOf(imagePackages([...archive.releases.values()][0]!, roots, image));
        for (const plan of planLayers(closure, { strategy, maxLayers })) {
          const paths = storePathsOf(plan);
          const size = paths.reduce((s, p) => s + closure.objects.get(p)!.narSize!, 0);
          total += size;
          unique.set([...paths].sort().join(" "), size);
          for (const p of paths) uniquePaths.set(p, closure.objects.get(p)!.narSize!);
        }
      }
      const sum = (m: Map<string, number>) => [...m.values()].reduce((a, b) => a + b, 0);
      const share = `${((1 - sum(unique) / total) * 100).toFixed(1)}/${((1 - sum(uniquePaths) / total) * 100).toFixed(1)}`;
      console.log(`${strategy}${follow ? " + previous" : ""}`.padEnd(32), cells.join(" "), share);
    }
  }
}
