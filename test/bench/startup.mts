import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withCorpus } from "./corpus.mjs";
import { interleave, output, type Series } from "./measure.mjs";
import { prepareCorpus } from "./programs.mjs";
import { megabytes, milliseconds, ratio, spread, table } from "./tables.mjs";

export interface Startup {
  readonly series: Readonly<Record<string, Series>>;
  readonly markdown: string;
}

const PATHS = 100;
const MIN_RUNS = 15;

/** How long small commands take: nearly all of it is Node's own start and the loading of modules. */
export async function measureStartup(options: {
  readonly runs: number;
  readonly directory: string;
  readonly bin: string;
  readonly log: (line: string) => void;
}): Promise<Startup> {
  const runs = Math.max(options.runs, MIN_RUNS);
  let measured: ReadonlyMap<string, Series> = new Map();
  await withCorpus("small", async (corpus) => {
    const environment = await prepareCorpus({ ...corpus, name: "startup" }, options.directory, options.bin);
    const closure = JSON.parse(await output("oci-nix closure spec.json", environment)) as readonly StoreObject[];
    const roots = rootsOf(closedSubset(closure, PATHS));
    const spec = { closure: { storeRoot: corpus.storeRoot, roots } };
    writeFileSync(join(environment.cwd, "hundred.json"), JSON.stringify(spec));
    const scripts = new Map([
      ["node -e 0", "node -e 0"],
      ["--version", "oci-nix --version >/dev/null"],
      ["--help", "oci-nix --help >/dev/null"],
      ["stream --help", "oci-nix stream --help >/dev/null"],
      [`plan of ${PATHS} paths`, "oci-nix plan hundred.json --json >/dev/null"],
    ]);
    measured = await interleave(scripts, runs, environment, (line) => options.log(`start-up: ${line}`));
    rmSync(environment.cwd, { recursive: true, force: true });
  });
  const node = measured.get("node -e 0")?.wall.median;
  const head = ["command", "wall ms", "min–max", "CPU ms", "RSS MB", "÷ node -e 0", "others"];
  const rows = [...measured].map(([id, { wall, cpu, rssKiB, others }]) => [
    id,
    milliseconds(wall.median),
    spread(wall, milliseconds),
    milliseconds(cpu.median),
    megabytes(rssKiB.median),
    ratio(wall.median, node),
    others.median.toFixed(2),
  ]);
  const note = `Medians of ${runs} runs; goals: --version and --help at most 1.6 × node -e 0, the plan at most 250 ms.`;
  return {
    series: Object.fromEntries(measured),
    markdown: ["### Start-up", "", note, "", table(head, rows), ""].join("\n"),
  };
}

interface StoreObject {
  readonly path: string;
  readonly references: readonly string[];
}

/** Store paths of a closure that are closed under references themselves: dependencies first, as many as asked for. */
function closedSubset(closure: readonly StoreObject[], size: number): readonly StoreObject[] {
  const objects = new Map(closure.map((object) => [object.path, object]));
  const ordered = new Map<string, StoreObject>();
  const visit = ({ path, references }: StoreObject) => {
    if (ordered.has(path)) return;
    for (const reference of references) {
      const object = reference === path ? undefined : objects.get(reference);
      if (object !== undefined) visit(object);
    }
    const object = objects.get(path);
    if (object !== undefined) ordered.set(path, object);
  };
  for (const object of closure) visit(object);
  return [...ordered.values()].slice(0, size);
}

function rootsOf(objects: readonly StoreObject[]): readonly string[] {
  const referred = new Set(objects.flatMap(({ path, references }) => references.filter((other) => other !== path)));
  return objects.map(({ path }) => path).filter((path) => !referred.has(path));
}
