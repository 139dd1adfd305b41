import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { withCorpus } from "./corpus.mjs";
import { interleave, output, type Series } from "./measure.mjs";
import { megabytes, ratio, seconds, spread, table } from "./tables.mjs";

export interface Ext4 {
  readonly series: Readonly<Record<string, Series>>;
  readonly markdown: string;
}

const OTHERS = "mke2fs -d";

/** How long it takes to make a file system of a store, beside mke2fs of the same store, which keeps the times and owners it finds. */
export async function measureExt4(options: {
  readonly runs: number;
  readonly directory: string;
  readonly bin: string;
  readonly log: (line: string) => void;
}): Promise<Ext4> {
  const cwd = join(options.directory, "ext4");
  mkdirSync(cwd);
  const environment = { cwd, env: { PATH: `${options.bin}:${process.env.PATH}:/usr/sbin:/sbin` } };
  let measured: ReadonlyMap<string, Series> = new Map();
  let description = "";
  await withCorpus("large", async (corpus) => {
    description = corpus.description;
    const store = `'${corpus.storeRoot}'`;
    const size = (await output(`make-ext4 ${store} ours.img`, environment)).trim();
    const scripts = new Map([
      [
        OTHERS,
        `rm -f others.img && truncate -s ${size} others.img && mke2fs -q -F -t ext4 -b 4096 -d ${store} others.img`,
      ],
      ["makeExt4", `rm -f ours.img && make-ext4 ${store} ours.img >/dev/null`],
    ]);
    measured = await interleave(scripts, options.runs, environment, (line) => options.log(`ext4: ${line}`));
  });
  rmSync(cwd, { recursive: true, force: true });
  const others = measured.get(OTHERS)?.wall.median;
  const head = ["command", "wall s", "min–max", "CPU s", "RSS MB", `÷ ${OTHERS}`, "others"];
  const rows = [...measured].map(([id, { wall, cpu, rssKiB, others: busy }]) => [
    id,
    seconds(wall.median),
    spread(wall, seconds),
    seconds(cpu.median),
    megabytes(rssKiB.median),
    ratio(wall.median, others),
    busy.median.toFixed(2),
  ]);
  const note = `Medians of ${options.runs} runs; goal: at most 1.3 × ${OTHERS}. Of ${description}.`;
  return {
    series: Object.fromEntries(measured),
    markdown: ["### ext4", "", note, "", table(head, rows), ""].join("\n"),
  };
}
