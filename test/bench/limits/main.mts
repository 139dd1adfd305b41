// Makes images as large as they get, looks whether other programs read them, and shows how time and memory grow.
//
//   npm run test:limits                      all; takes ten minutes
//   npm run test:limits -- --short           without the largest sizes
//
// Prints a Markdown table on standard output, progress on standard error. Fails where something made is not right.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheDirectory, removeTemporary } from "../corpus.mjs";
import { describeMachine, formatMachine } from "../machine.mjs";
import { makeBinDirectory, PROJECT } from "../project.mjs";
import { count, megabytes, ratio, seconds, table } from "../tables.mjs";
import { measureFiles } from "./files.mjs";
import { measureLayers } from "./layers.mjs";
import { measureNames, measureOwners } from "./names.mjs";
import type { Bench, Limit, Point } from "./series.mjs";
import { measureHeaders, measureSparse } from "./sizes.mjs";
import { measureStorePaths } from "./store-paths.mjs";

const CASES: Readonly<Record<string, (bench: Bench) => Promise<Limit | readonly Limit[]>>> = {
  names: measureNames,
  owners: measureOwners,
  layers: measureLayers,
  headers: measureHeaders,
  "store-paths": measureStorePaths,
  files: measureFiles,
  sparse: measureSparse,
};

const USAGE = `usage: npm run test:limits -- [--only CASE,…] [--short]

  --only     ${Object.keys(CASES).join(", ")} (default: all)
  --short    leave out the largest sizes
`;

const HEAD = ["size", "wall s", "CPU s", "RSS MB", "size ×", "wall ×", "CPU ×", "RSS ×"];

const log = (line: string) => void process.stderr.write(`limits: ${line}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: "string" }, short: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  const chosen = values.only?.split(",") ?? Object.keys(CASES);
  if (values.help || chosen.some((name) => CASES[name] === undefined)) {
    process.stdout.write(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  if (!existsSync("/usr/bin/time")) throw new Error("GNU time is missing: install the Debian package time");
  const directory = mkdtempSync(join(cacheDirectory(), "limits-"));
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
  try {
    process.stdout.write(`${formatMachine(describeMachine(PROJECT))}\n\n`);
    const bench = { directory, bin: makeBinDirectory(directory), isShort: values.short === true, log };
    for (const name of chosen) {
      const limits = await CASES[name]?.(bench);
      for (const limit of [limits ?? []].flat() as readonly Limit[]) {
        process.stdout.write(`${table([limit.what, ...HEAD], rowsOf(limit))}\n\n`);
      }
    }
  } finally {
    cleanUp();
  }
}

/** By command, each from the smallest size to the largest; factors are to the size before. */
function rowsOf({ points }: Limit): readonly (readonly string[])[] {
  const commands = [...new Set(points.map(({ command }) => command))];
  return commands.flatMap((command) => {
    const own = points.filter((point) => point.command === command);
    return own.map((point, i) => rowOf(point, own[i - 1]));
  });
}

function rowOf({ command, size, run }: Point, before: Point | undefined): readonly string[] {
  const figures = [count(size), seconds(run.wall), seconds(run.cpu), megabytes(run.rssKiB)];
  const factors = [
    ratio(size, before?.size),
    ratio(run.wall, before?.run.wall),
    ratio(run.cpu, before?.run.cpu),
    ratio(run.rssKiB, before?.run.rssKiB),
  ];
  return [command, ...figures, ...(before === undefined ? ["", "", "", ""] : factors)];
}

try {
  await main();
} catch (error) {
  log(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
