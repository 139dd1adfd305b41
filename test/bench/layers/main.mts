// What releases cost with each strategy: bytes pushed ÷ bytes of the store paths that are new.
//
//   npm run bench:layers                                        everything; takes some minutes
//   npm run bench:layers -- --layers 64 --strategies closure-cost,dockertools-auto --scenarios app,usual --seeds 1
//
// Prints Markdown. Bytes are those of NARs; a registry keeps what it was sent before. A figure is the mean over images and seeds of what
// all releases but the first push together, divided by what they had to.

import { parseArgs } from "node:util";
import { planLayers, replay, STRATEGY_NAMES, storePathsOf } from "../../../src/index.js";
import { type Chain, chainsOf, debianChains, EVENTS, type EventName, RELEASES, USUAL } from "./chains.mjs";
import { type Archive, closureOf, imagePackages, type Packages, readArchive } from "./packages.mjs";
import { measurePlanning } from "./speed.mjs";

/** The only one that looks at the image before. */
const FOLLOWING = "closure-cost";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "32,64,100" },
    // The others are these under another name, or make one layer, or as many as there are store paths.
    strategies: {
      type: "string",
      default: STRATEGY_NAMES.filter((name) => !["popularity", "per-path", "single"].includes(name)).join(","),
    },
    scenarios: { type: "string", default: "" },
    seeds: { type: "string", default: "3" },
  },
});

interface Row {
  readonly strategy: string;
  readonly follow: boolean;
}

const rows = values.strategies.split(",").flatMap((strategy): Row[] =>
  strategy === FOLLOWING
    ? [
        { strategy, follow: false },
        { strategy, follow: true },
      ]
    : [{ strategy, follow: false }],
);

const archive = readArchive();
const scenarios = scenariosOf(archive);
console.log(`${archive.images.size} images, ${RELEASES} releases, seeds 1 to ${values.seeds}\n`);
for (const maxLayers of values.layers.split(",").map(Number)) {
  const heading = [`${maxLayers} layers`, ...scenarios.keys(), "mean", "shared"];
  console.log(`| ${heading.join(" | ")} |\n|${heading.map((_, i) => (i === 0 ? "---|" : "--:|")).join("")}`);
  for (const { strategy, follow } of rows) {
    const figures = [...scenarios.values()].map((chains) => mean(chains.map((chain) => costOf(chain, maxLayers))));
    const sharing = sharedBy(strategy, maxLayers);
    const cells = [...figures, mean(figures)].map((figure) => figure.toFixed(2));
    console.log(`| ${strategy}${follow ? " --previous" : ""} | ${cells.join(" | ")} | ${sharing} |`);

    function costOf({ closures }: Chain, maxLayers: number): number {
      const releases = replay(closures, { strategy, maxLayers, follow }).slice(1);
      return sum(releases.map(({ uploaded }) => uploaded)) / sum(releases.map(({ ideal }) => ideal));
    }
  }
  console.log();
}

console.log(`Planning with ${FOLLOWING}, random closures\n`);
console.log("| store paths | first run | then | following the release before |\n|--:|--:|--:|--:|");
for (const row of measurePlanning(FOLLOWING)) console.log(`| ${row.join(" | ")} |`);

function scenariosOf(archive: Archive): ReadonlyMap<string, readonly Chain[]> {
  const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1);
  const chains = (events: readonly EventName[]) => () => seeds.flatMap((seed) => chainsOf(archive, events, seed));
  const all = new Map<string, () => readonly Chain[]>([
    ...EVENTS.map((event) => [event, chains([event])] as const),
    ["usual", chains(USUAL)],
    ["debian", () => debianChains(archive)],
  ]);
  const wanted = values.scenarios === "" ? [...all.keys()] : values.scenarios.split(",");
  return new Map(wanted.map((name) => [name, (all.get(name) ?? unknownScenario(name, all.keys()))()]));
}

function unknownScenario(name: string, known: Iterable<string>): never {
  throw new Error(`unknown scenario ${name}: one of ${[...known].join(", ")}`);
}

/** What the images have in common, in percent of their bytes: by layers, and by store paths. */
function sharedBy(strategy: string, maxLayers: number): string {
  const layers = new Map<string, number>();
  const paths = new Map<string, number>();
  let total = 0;
  for (const [image, roots] of archive.images) {
    const closure = closureOf(imagePackages([...archive.releases.values()][0] as Packages, roots, image));
    for (const plan of planLayers(closure, { strategy, maxLayers })) {
      const sizes = storePathsOf(plan).map((path) => [path, closure.objects.get(path)?.narSize ?? 0] as const);
      for (const [path, size] of sizes) paths.set(path, size);
      const bytes = sum(sizes.map(([, size]) => size));
      layers.set(
        sizes
          .map(([path]) => path)
          .sort()
          .join(" "),
        bytes,
      );
      total += bytes;
    }
  }
  const percent = (stored: ReadonlyMap<string, number>) => ((1 - sum([...stored.values()]) / total) * 100).toFixed(1);
  return `${percent(layers)} of ${percent(paths)}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function mean(numbers: readonly number[]): number {
  return sum(numbers) / numbers.length;
}
