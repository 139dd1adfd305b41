import { rmSync } from "node:fs";
import { type Corpus, LEFT_OUT } from "./corpus.mjs";
import { checkGoals } from "./goals.mjs";
import { type Environment, interleave, output, type Series } from "./measure.mjs";
import { type Absent, type Group, type Program, prepareCorpus, programsFor, TAR } from "./programs.mjs";
import { count, megabytes, ratio, seconds, spread, table } from "./tables.mjs";

export interface Comparison {
  readonly corpus: { readonly name: string; readonly description: string };
  /** Bytes of the archive that our program writes and of tar's; entries of ours; layers. */
  readonly work: Work;
  readonly results: readonly {
    readonly id: string;
    readonly script: string;
    readonly series: Series;
    /** Bytes of what it makes, where that is compared. */
    readonly size?: number;
  }[];
  readonly absent: readonly Absent[];
  readonly markdown: string;
}

interface Work {
  readonly bytes: number;
  readonly tarBytes: number;
  readonly entries: number;
  readonly layers: number;
}

export interface CompareOptions {
  readonly groups: ReadonlySet<Group>;
  readonly runs: number;
  readonly directory: string;
  readonly bin: string;
  readonly log: (line: string) => void;
}

/** Measures all programs on one corpus, in turns. */
export async function compare(corpus: Corpus, options: CompareOptions): Promise<Comparison> {
  const { groups, runs, directory, bin, log } = options;
  const environment = await prepareCorpus(corpus, directory, bin);
  try {
    const { programs, absent } = await choose(corpus, groups, environment);
    const work = await checkWork(environment, groups);
    const prepared = new Set<string>();
    for (const { prepare } of programs) {
      if (prepare === undefined || prepared.has(prepare)) continue;
      await output(prepare, environment);
      prepared.add(prepare);
    }
    const scripts = new Map(programs.map(({ id, script }) => [id, script]));
    const measured = await interleave(scripts, runs, environment, (line) => log(`${corpus.name}: ${line}`));
    const sizes = new Map<string, number>();
    for (const { id, size } of programs) if (size !== undefined) sizes.set(id, Number(await output(size, environment)));
    const results = programs.map(({ id, script }) => {
      const size = sizes.get(id);
      return { id, script, series: measured.get(id) as Series, ...(size === undefined ? {} : { size }) };
    });
    const markdown = format(corpus, work, { measured, sizes }, absent, runs);
    return { corpus: { name: corpus.name, description: corpus.description }, work, results, absent, markdown };
  } finally {
    rmSync(environment.cwd, { recursive: true, force: true });
  }
}

async function choose(corpus: Corpus, groups: ReadonlySet<Group>, environment: Environment) {
  const { programs, absent } = await programsFor(groups, environment);
  const leftOut = new Set(LEFT_OUT[corpus.name] ?? []);
  const isLeftOut = ({ id }: { readonly id: string }) => leftOut.has(id);
  return {
    programs: programs.filter((program: Program) => !isLeftOut(program)),
    absent: [
      ...absent,
      ...programs.filter(isLeftOut).map(({ id }) => ({ id, why: "left out on this corpus: it takes too long" })),
    ],
  };
}

/**
 * How much there is to do, and whether our two programs agree on it.
 * @throws Error where the digests of `digest-layers` are not those of `stream`
 */
async function checkWork(environment: Environment, groups: ReadonlySet<Group>): Promise<Work> {
  const stream = "oci-nix stream spec.json --progress=none --json 2>&1 >/dev/null | tail -n 1";
  const summary = JSON.parse(await output(stream, environment)) as {
    readonly bytes: number;
    readonly entries: number;
    readonly layers: readonly { readonly diffId: string }[];
  };
  const { bytes, entries, layers } = summary;
  if (groups.has("digests")) {
    const digests = (await output("digest-layers spec.json", environment)).trim();
    if (digests !== layers.map(({ diffId }) => diffId).join("\n")) {
      throw new Error("digest-layers and oci-nix stream do not give the same digests");
    }
  }
  const tarBytes = Number(await output(`${TAR} | wc -c`, environment));
  return { bytes, tarBytes, entries, layers: layers.length };
}

/** Columns with ratios: each to this command. */
const RATIOS = [
  ["tar-openssl", "÷ openssl"],
  ["tar-tee-openssl-cat", "÷ tee"],
  ["tar-sha256sum", "÷ sha256sum"],
] as const;

function format(
  corpus: Corpus,
  work: Work,
  { measured, sizes }: { readonly measured: ReadonlyMap<string, Series>; readonly sizes: ReadonlyMap<string, number> },
  absent: readonly Absent[],
  runs: number,
): string {
  const ratios = RATIOS.filter(([id]) => measured.has(id));
  const head = ["command", "wall s", "min–max", "CPU s", "RSS MB", ...ratios.map(([, title]) => title), "others"];
  const rows = [...measured].map(([id, { wall, cpu, rssKiB, others }]) => [
    id,
    seconds(wall.median),
    spread(wall, seconds),
    seconds(cpu.median),
    megabytes(rssKiB.median),
    ...ratios.map(([other]) => ratio(wall.median, measured.get(other)?.wall.median)),
    others.median.toFixed(2),
  ]);
  const goals = checkGoals(corpus.name, measured, sizes);
  const { bytes, tarBytes, entries, layers } = work;
  return [
    `### ${corpus.name}`,
    "",
    `${corpus.description}. Our archive: ${count(entries)} entries in ${layers} layers, ${count(bytes)} bytes; tar's: ${count(tarBytes)} bytes. ${runs} runs, medians.`,
    "",
    table(head, rows),
    ...(sizes.size === 0
      ? []
      : [
          "",
          table(
            ["packed by", "bytes"],
            [...sizes].map(([id, bytes]) => [id, count(bytes)]),
          ),
        ]),
    ...(goals.length === 0 ? [] : ["", table(["goal", "limit", "measured", "met"], goals)]),
    ...(absent.length === 0 ? [] : ["", ...absent.map(({ id, why }) => `- ${id}: not measured, ${why}.`)]),
    "",
  ].join("\n");
}
