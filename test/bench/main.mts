// Measures how fast images are made, beside other programs that do the same or parts of it.
//
//   npm run bench                                     everything; takes an hour
//   npm run bench -- --only stream --corpus big       some of it
//
// Prints Markdown on standard output, progress on standard error, and writes all figures to a JSON file.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Comparison, compare } from "./compare.mjs";
import { CORPUS_NAMES, cacheDirectory, removeTemporary, withCorpus } from "./corpus.mjs";
import { type Ext4, measureExt4 } from "./ext4.mjs";
import { type Growth, measureGrowth } from "./growth.mjs";
import { describeMachine, formatMachine } from "./machine.mjs";
import { setPatience } from "./measure.mjs";
import { type Micro, measureMicro } from "./micro.mjs";
import { type Group, TAR } from "./programs.mjs";
import { makeBinDirectory, PROJECT } from "./project.mjs";
import { measureStartup, type Startup } from "./startup.mjs";

const COMPARED: readonly Group[] = ["stream", "digests", "rebuild", "copy", "compress"];
const PARTS = [...COMPARED, "startup", "growth", "micro", "ext4"] as const;
type Part = (typeof PARTS)[number];

const USAGE = `usage: npm run bench -- [--only PART,…] [--corpus NAME,…] [--runs N] [--wait SECONDS] [--output FILE.json]

  --only     ${PARTS.join(", ")} (default: all)
  --corpus   ${CORPUS_NAMES.join(", ")} (default: all); for ${COMPARED.join(", ")}
  --runs     measured runs of each command, in turns, after one that is not counted (default 5)
  --wait     before every run, wait up to this long for the machine to be quiet (default 0)
  --output   where the figures go as JSON (default: a new file in the cache directory)

  BENCH_DOCKERTOOLS=…/stream_layered_image.py   measures nixpkgs' program, too (as root)
  BENCH_NIX2CONTAINER=…/bin/nix2container       measures nix2container, too (as root)
  BENCH_CRYPTO_ASYNC=…/@ronomon/crypto-async    measures that package, in micro
`;

const log = (line: string) => void process.stderr.write(`bench: ${line}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      corpus: { type: "string" },
      runs: { type: "string", default: "5" },
      wait: { type: "string", default: "0" },
      output: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const parts = new Set<Part>(chosen("--only", values.only, PARTS));
  const corpora = chosen("--corpus", values.corpus, CORPUS_NAMES);
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`--runs takes a number from 1, not ${values.runs}`);
  const wait = Number(values.wait);
  if (!(wait >= 0)) throw new UsageError(`--wait takes a number of seconds, not ${values.wait}`);
  setPatience(wait);
  if (!existsSync("/usr/bin/time")) throw new Error("GNU time is missing: install the Debian package time");

  const cache = cacheDirectory();
  const directory = mkdtempSync(join(cache, "run-"));
  const cleanUp = () => {
    removeTemporary();
    rmSync(directory, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      cleanUp();
      process.exit(130);
    });
  }
  const date = new Date().toISOString();
  const machine = describeMachine(PROJECT);
  const results: {
    comparisons: Comparison[];
    growth?: readonly Growth[];
    startup?: Startup;
    micro?: Micro;
    ext4?: Ext4;
  } = {
    comparisons: [],
  };
  const print = (markdown: string) => void process.stdout.write(`${markdown}\n`);
  const file = resolve(values.output ?? join(cache, `results-${date.replace(/[:.]/g, "-")}.json`));
  const save = () => {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify({ date, machine, runs, tar: TAR, ...results }, undefined, 2)}\n`);
  };
  try {
    const bin = makeBinDirectory(directory);
    const options = { runs, directory, bin, log };
    print(formatMachine(machine));
    const groups = new Set<Group>(COMPARED.filter((group) => parts.has(group)));
    if (groups.size > 0) {
      print(`- tar: \`${TAR}\``);
      print(`- "others": processors that were busy with something else meanwhile, on average\n`);
    } else {
      print("");
    }
    if (parts.has("startup")) {
      results.startup = await measureStartup(options);
      print(results.startup.markdown);
      save();
    }
    if (parts.has("micro")) {
      results.micro = await measureMicro(options);
      print(results.micro.markdown);
      save();
    }
    if (parts.has("ext4")) {
      results.ext4 = await measureExt4(options);
      print(results.ext4.markdown);
      save();
    }
    for (const name of groups.size > 0 ? corpora : []) {
      await withCorpus(name, async (corpus) => {
        const comparison = await compare(corpus, { ...options, groups });
        results.comparisons.push(comparison);
        print(comparison.markdown);
        save();
      });
    }
    if (parts.has("growth")) {
      results.growth = await measureGrowth(options);
      for (const { markdown } of results.growth) print(markdown);
      save();
    }
    log(`all figures: ${file}`);
  } finally {
    cleanUp();
  }
}

class UsageError extends Error {}

function chosen<Name extends string>(option: string, text: string | undefined, all: readonly Name[]): readonly Name[] {
  if (text === undefined) return all;
  const names = text.split(",");
  const known = (name: string): name is Name => (all as readonly string[]).includes(name);
  const stranger = names.find((name) => !known(name));
  if (stranger !== undefined) throw new UsageError(`${option} takes ${all.join(", ")}, not ${stranger}`);
  return names.filter(known);
}

try {
  await main();
} catch (error) {
  const usage = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
  log(error instanceof Error ? error.message : String(error));
  if (usage) process.stderr.write(USAGE);
  process.exitCode = usage ? 2 : 1;
}
