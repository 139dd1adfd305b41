import { rmSync } from "node:fs";
import { type Corpus, withEntries, withStorePaths } from "./corpus.mjs";
import { interleave, type Series } from "./measure.mjs";
import { prepareCorpus } from "./programs.mjs";
import { count, megabytes, seconds, table } from "./tables.mjs";

export interface GrowthOptions {
  readonly runs: number;
  readonly directory: string;
  readonly bin: string;
  readonly log: (line: string) => void;
}

interface Point {
  readonly size: number;
  readonly measured: ReadonlyMap<string, Series>;
}

export interface Growth {
  readonly what: string;
  readonly points: readonly { readonly size: number; readonly series: Readonly<Record<string, Series>> }[];
  readonly markdown: string;
}

const ENTRIES = [1_000, 10_000, 100_000, 1_000_000];
const STORE_PATHS = [10, 100, 1_000, 10_000];

const STREAM = ["stream", "oci-nix stream spec.json --progress=none --quiet | cat >/dev/null"] as const;
const DIGESTS = ["digests", "digest-layers spec.json >/dev/null"] as const;
const PLAN = ["plan", "oci-nix plan spec.json --json >/dev/null"] as const;

/** How time and memory grow with the number of entries and of store paths. */
export async function measureGrowth(options: GrowthOptions): Promise<readonly Growth[]> {
  return [
    await grow("entries", ENTRIES, withEntries, new Map([STREAM, DIGESTS]), options),
    await grow("store paths", STORE_PATHS, withStorePaths, new Map([STREAM, DIGESTS, PLAN]), options),
  ];
}

async function grow(
  what: string,
  sizes: readonly number[],
  withSize: (size: number, use: (corpus: Corpus) => Promise<void>) => Promise<void>,
  scripts: ReadonlyMap<string, string>,
  { runs, directory, bin, log }: GrowthOptions,
): Promise<Growth> {
  const points: Point[] = [];
  for (const size of sizes) {
    await withSize(size, async (corpus) => {
      const environment = await prepareCorpus(corpus, directory, bin);
      const measured = await interleave(scripts, runs, environment, (line) => log(`${count(size)} ${what}: ${line}`));
      points.push({ size, measured });
      rmSync(environment.cwd, { recursive: true, force: true });
    });
  }
  return {
    what,
    points: points.map(({ size, measured }) => ({ size, series: Object.fromEntries(measured) })),
    markdown: format(what, points, [...scripts.keys()], runs),
  };
}

function format(what: string, points: readonly Point[], ids: readonly string[], runs: number): string {
  const head = [what, ...ids.flatMap((id) => [`${id} s`, "µs each", "µs each more", "RSS MB"])];
  const rows = points.map(({ size, measured }, i) => [
    count(size),
    ...ids.flatMap((id) => {
      const { wall, rssKiB } = measured.get(id) as Series;
      const before = points[i - 1];
      const more =
        before === undefined
          ? ""
          : micro((wall.median - (before.measured.get(id) as Series).wall.median) / (size - before.size));
      return [seconds(wall.median), micro(wall.median / size), more, megabytes(rssKiB.max)];
    }),
  ]);
  const note = `Medians of ${runs} runs, memory the largest of them. "µs each more" is the time of what was added since the row above, without the start-up.`;
  return [`### Growth: ${what}`, "", note, "", table(head, rows), ""].join("\n");
}

function micro(value: number): string {
  return (value * 1e6).toFixed(1);
}
