import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";

/** One run of one command, everything it started included. */
export interface Run {
  /** Seconds. */
  readonly wall: number;
  /** User and system seconds of all its processes. */
  readonly cpu: number;
  /** Peak resident memory of its largest process. */
  readonly rssKiB: number;
  /** Processors that something else kept busy meanwhile, on average: what spoils a measurement. */
  readonly others: number;
}

/** All runs of one command. */
export interface Series {
  readonly runs: readonly Run[];
  readonly wall: Spread;
  readonly cpu: Spread;
  readonly rssKiB: Spread;
  readonly others: Spread;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Where commands run. */
export interface Environment {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs a bash script to its end and measures it with GNU time, which counts every process that was waited for.
 * @throws Error where any part of a pipeline fails: a failed run is no measurement
 */
export async function measure(script: string, { cwd, env }: Environment): Promise<Run> {
  const figures = join(cwd, "time.txt");
  const args = ["-q", "-f", "%U %S %M", "-o", figures, "bash", "-c", `set -o pipefail\n${script}`];
  const busyBefore = busySeconds();
  const start = performance.now();
  const { status, stderr } = await runToEnd("/usr/bin/time", args, cwd, env);
  const wall = (performance.now() - start) / 1000;
  const busy = busySeconds() - busyBefore;
  if (status !== 0) throw new Error(`${script}\nended with ${status}\n${stderr.slice(-2000)}`);
  const numbers = readFileSync(figures, "utf8").trim().split(" ").map(Number);
  const [user, system, rssKiB] = numbers;
  if (user === undefined || system === undefined || rssKiB === undefined || numbers.some(Number.isNaN)) {
    throw new Error(`GNU time (Debian package "time") wrote something else than figures: ${numbers.join(" ")}`);
  }
  return { wall, cpu: user + system, rssKiB, others: Math.max(0, busy - user - system) / wall };
}

/** Runs a command to its end without measuring it, and gives its standard output. @throws Error where it fails */
export async function output(script: string, { cwd, env }: Environment): Promise<string> {
  const { status, stdout, stderr } = await runToEnd("bash", ["-c", `set -o pipefail\n${script}`], cwd, env);
  if (status !== 0) throw new Error(`${script}\nended with ${status}\n${stderr.slice(-2000)}`);
  return stdout;
}

/** Whether a command can be started and succeeds. */
export async function succeeds(script: string, { cwd, env }: Environment): Promise<boolean> {
  return (await runToEnd("bash", ["-c", script], cwd, env)).status === 0;
}

function runToEnd(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Environment["env"],
): Promise<{ readonly status: number | string; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    // Some programs print a line for every store path.
    stderr = (stderr + text).slice(-10_000);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status: status ?? signal ?? "nothing", stdout, stderr }));
  });
}

/** How long a machine that is busy with something else is waited for, before every run. Nothing by default. */
let patienceSeconds = 0;

export function setPatience(seconds: number): void {
  patienceSeconds = seconds;
}

const QUIET = 0.1;
const SAMPLE_MS = 400;

async function waitForQuiet(): Promise<void> {
  for (let waited = 0; waited < patienceSeconds * 1000; waited += SAMPLE_MS) {
    const [busyBefore, start] = [busySeconds(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    if ((busySeconds() - busyBefore) / ((performance.now() - start) / 1000) < QUIET) return;
  }
}

/**
 * Runs every command once unmeasured, which fills the page cache, and then in turns: A B C, A B C, …, so that a disturbance hits
 * all of them alike.
 */
export async function interleave<Id extends string>(
  scripts: ReadonlyMap<Id, string>,
  runs: number,
  environment: Environment,
  log: (line: string) => void,
): Promise<ReadonlyMap<Id, Series>> {
  const measured = new Map<Id, Run[]>([...scripts.keys()].map((id) => [id, []]));
  for (let round = 0; round <= runs; round++) {
    const walls: string[] = [];
    for (const [id, script] of scripts) {
      await waitForQuiet();
      const run = await measure(script, environment);
      if (round > 0) measured.get(id)?.push(run);
      walls.push(`${id} ${run.wall.toFixed(2)}`);
    }
    const load = loadavg().map((value) => value.toFixed(2));
    log(`${round === 0 ? "warm-up" : `round ${round} of ${runs}`} (load ${load.join(" ")}): ${walls.join(", ")}`);
  }
  return new Map([...measured].map(([id, all]) => [id, seriesOf(all)]));
}

export function seriesOf(runs: readonly Run[]): Series {
  const of = (value: (run: Run) => number) => spreadOf(runs.map(value));
  return {
    runs,
    wall: of((run) => run.wall),
    cpu: of((run) => run.cpu),
    rssKiB: of((run) => run.rssKiB),
    others: of((run) => run.others),
  };
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

const JIFFIES_PER_SECOND = 100;

/** Seconds that all processors were busy since the machine started. */
function busySeconds(): number {
  const fields = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) / JIFFIES_PER_SECOND;
}
