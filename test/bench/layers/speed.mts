import { type Closure, createClosure, planLayers, type StorePath, storePathsOf } from "../../../src/index.js";
import { randomFrom } from "./random.mjs";

const SIZES = [500, 2_000, 10_000];
const LAYERS = 100;
const RUNS = 5;

/** How long planning takes: for closures of several sizes the milliseconds of the first run, and the median of some more. */
export function measurePlanning(strategy: string): readonly (readonly [string, string, string, string])[] {
  return SIZES.map((count) => {
    const closure = randomClosure(count);
    const options = { strategy, maxLayers: LAYERS };
    const [first, ...others] = Array.from({ length: RUNS + 1 }, () => timed(() => planLayers(closure, options)));
    const layers = planLayers(closure, options).map((plan) => ({ storePaths: storePathsOf(plan) }));
    const changed = randomClosure(count, 2);
    const previous = { source: "the release before", layers };
    const following = timed(() => planLayers(changed, { ...options, previous }));
    const median = others.toSorted((a, b) => a - b)[Math.floor(RUNS / 2)] as number;
    const text = (milliseconds: number) => `${Math.round(milliseconds)} ms`;
    return [String(count), text(first as number), text(median), text(following)];
  });
}

function timed(run: () => unknown): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** Store paths that refer to some of those after them, near ones more often; in later releases every seventh is another. */
function randomClosure(count: number, release = 1): Closure {
  const random = randomFrom(count);
  const path = (i: number) => {
    const hash = `${i % 7 === 0 ? release : 0}${String(i).padStart(31, "0")}`;
    return `/nix/store/${hash}-package-${i}` as StorePath;
  };
  const objects = Array.from({ length: count }, (_, i) => {
    const narSize = Math.floor(Math.exp(8 + 8 * random() ** 2));
    const steps = Array.from({ length: Math.floor(random() * 12) }, () => 1 + Math.floor(random() ** 3 * (count - i)));
    const references = steps.filter((step) => i + step < count).map((step) => path(i + step));
    return { path: path(i), narHash: undefined, narSize, references };
  });
  return createClosure({ storeDir: "/nix/store", objects, source: "the benchmark" });
}
