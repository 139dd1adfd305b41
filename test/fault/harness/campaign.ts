import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { CommandResult } from "../../support/command.js";
import { type Allowed, type Case, FAULTS, type Fault } from "./faults.js";
import { Random } from "./random.js";
import type { State, Subject } from "./subject.js";
import { makeSubjects } from "./subjects.js";
import { copyTree, makePlace, makeWorld, type Place, type PlacePath, runIn, type World } from "./world.js";

export interface CampaignOptions {
  readonly seed: string;
  /** How often each kind of fault happens to each command. */
  readonly rounds: number;
  /** Of each kind, only so many commands, in turn. */
  readonly commandsOfKind?: number | undefined;
  /** Commands; default: all. */
  readonly commands?: readonly string[] | undefined;
  /** A part of what cases are called; default: all. */
  readonly only?: string | undefined;
  /** After this time no case is begun. */
  readonly limitMs?: number | undefined;
  /** Cases at the same time. */
  readonly parallel: number;
  /** Told of each case. */
  readonly onCase?: (outcome: Outcome) => void;
}

/** What came of a fault. */
export interface Outcome {
  /** `command/kind/round`, which with the seed says all. */
  readonly name: string;
  readonly command: string;
  readonly kind: string;
  /** How the command ended: `done`, `error` or `killed`. */
  readonly end: "done" | "error" | "killed";
  /** What it left. */
  readonly state: State | undefined;
  /** What is not as it should be; undefined where the fault was survived. */
  readonly complaint: string | undefined;
}

/** Lets faults happen to commands. Root's rights are needed for some, which are left out without them. */
export async function runCampaign(options: CampaignOptions): Promise<readonly Outcome[]> {
  const world = await makeWorld();
  try {
    const campaign = new Campaign(world, options.seed);
    const subjects = await makeSubjects(world, options.commands);
    for (const subject of subjects) await campaign.measure(subject);
    const waiting = casesOf(subjects, options);
    const outcomes: Outcome[] = [];
    const end = performance.now() + (options.limitMs ?? Number.POSITIVE_INFINITY);
    const next = () => (performance.now() < end ? waiting.shift() : undefined);
    const work = async () => {
      for (let planned = next(); planned !== undefined; planned = next()) {
        const outcome = await campaign.run(planned);
        outcomes.push(outcome);
        options.onCase?.(outcome);
      }
    };
    await Promise.all(Array.from({ length: options.parallel }, work));
    return outcomes;
  } finally {
    await world.remove();
  }
}

interface Planned {
  readonly name: string;
  readonly round: number;
  readonly fault: Fault;
  readonly subject: Subject;
}

function casesOf(subjects: readonly Subject[], options: CampaignOptions): Planned[] {
  const { rounds, only = "", commandsOfKind = Number.POSITIVE_INFINITY } = options;
  const isRoot = process.getuid?.() === 0;
  const cases: Planned[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const [i, fault] of FAULTS.entries()) {
      if (fault.needsRoot === true && !isRoot) continue;
      const able = subjects.filter((subject) => fault.appliesTo(subject));
      for (let n = 0; n < Math.min(able.length, commandsOfKind); n++) {
        const subject = able[(2 * i + n) % able.length] as Subject;
        const name = `${subject.name}/${fault.kind}/${round}`;
        if (name.includes(only)) cases.push({ name, round, fault, subject });
      }
    }
  }
  return cases;
}

class Campaign {
  readonly #world: World;
  readonly #seed: string;
  readonly #wholeMs = new Map<string, number>();
  readonly #calls = new Map<string, Promise<number>>();
  #places = 0;

  constructor(world: World, seed: string) {
    this.#world = world;
    this.#seed = seed;
  }

  /** Runs a command undisturbed, which leaves a cache for others to begin with. */
  async measure(subject: Subject): Promise<void> {
    const place = this.#place(subject);
    await subject.prepare(place);
    const start = performance.now();
    const result = await runIn(place, subject.args(place));
    this.#wholeMs.set(subject.name, performance.now() - start);
    if (result.status !== 0) throw new Error(`${subject.name} fails undisturbed: ${result.stderr}`);
    const state = await subject.state(place);
    if (state !== "new") throw new Error(`${subject.name} leaves the ${state} state undisturbed`);
    await subject.dispose?.(place);
    copyTree(place.cache, this.#warmCache(subject));
  }

  async run({ name, round, fault, subject }: Planned): Promise<Outcome> {
    const random = new Random(`${this.#seed} ${name}`);
    const place = this.#place(subject);
    if (subject.hasCache && random.next() < 0.3) copyTree(this.#warmCache(subject), place.cache);
    const calls: Case["calls"] = (injection, below) => this.#count(subject, injection, below);
    const wholeMs = this.#wholeMs.get(subject.name) ?? 0;
    const found = { ...{ name, command: subject.name, kind: fault.kind }, end: "error", state: undefined } as const;
    try {
      const disturbed = await fault.disturb({ world: this.#world, subject, place, random, round, wholeMs, calls });
      const judged = await judge(subject, disturbed.place, disturbed.result, disturbed.allowed);
      const again = judged.complaint ?? (await this.#again(subject, disturbed.place));
      return { ...found, ...judged, complaint: again };
    } catch (error) {
      return { ...found, complaint: `the case itself failed: ${error instanceof Error ? error.stack : error}` };
    } finally {
      await subject.dispose?.(place);
      rmSync(place.directory, { recursive: true, force: true });
    }
  }

  /** The next run, undisturbed, gives what it gives without a fault before it, and leaves nothing else. */
  async #again(subject: Subject, place: Place): Promise<string | undefined> {
    rmSync(place.stdout, { force: true });
    const result = await runIn(place, subject.args(place));
    if (result.status !== 0) return `the next run fails with ${result.status ?? result.signal}: ${result.stderr}`;
    try {
      const state = await subject.state(place);
      if (state !== "new") return `the next run leaves the ${state} state`;
    } catch (error) {
      return `after the next run: ${(error as Error).message}`;
    }
    const left = leftovers(place);
    return left.length === 0 ? undefined : `the next run leaves ${left.join(", ")}`;
  }

  #place({ receive }: Subject): Place {
    return makePlace(this.#world, `place-${this.#places++}`, receive);
  }

  #warmCache(subject: Subject): string {
    return join(this.#world.directory, `cache-${subject.name}`);
  }

  #count(subject: Subject, injection: Parameters<Case["calls"]>[0], below: PlacePath): Promise<number> {
    const key = JSON.stringify([subject.name, injection, below]);
    const known = this.#calls.get(key) ?? this.#countAnew(subject, injection, below);
    this.#calls.set(key, known);
    return known;
  }

  async #countAnew(subject: Subject, injection: Parameters<Case["calls"]>[0], below: PlacePath): Promise<number> {
    const place = this.#place(subject);
    await subject.prepare(place);
    const counted = this.#world.preload.inject({ ...injection, below: place[below], at: 0, do: "count" });
    const result = await runIn(place, subject.args(place), { env: counted.env });
    await subject.dispose?.(place);
    if (result.status !== 0) throw new Error(`${subject.name} fails while calls are counted: ${result.stderr}`);
    rmSync(place.directory, { recursive: true, force: true });
    return counted.calls();
  }
}

/** Looks at how a run ended, and what it left. */
async function judge(
  subject: Subject,
  place: Place,
  result: CommandResult,
  allowed: Allowed,
): Promise<Pick<Outcome, "end" | "state" | "complaint">> {
  const end = result.status === 0 ? "done" : result.status === null ? "killed" : "error";
  const said = complaintAbout(result, allowed);
  if (said !== undefined) return { end, state: undefined, complaint: said };
  let state: State;
  try {
    state = await subject.state(place);
    await subject.read(place);
  } catch (error) {
    return { end, state: undefined, complaint: `${(error as Error).message}; it said: ${result.stderr}` };
  }
  if (end === "done" && state === "old")
    return { end, state, complaint: "it says that all is well, and nothing is new" };
  const left = end === "killed" || allowed.mayLeave === true ? [] : leftovers(place);
  return { end, state, complaint: left.length === 0 ? undefined : `it leaves ${left.join(", ")}` };
}

function complaintAbout({ status, signal, stderr }: CommandResult, allowed: Allowed): string | undefined {
  const { codes = [1], signals = [], message, mustSucceed = false } = allowed;
  if (signal !== null) return signals.includes(signal) ? undefined : `it was ended by ${signal}: ${stderr}`;
  if (/internal error|^\s+at .*[(:]|node:internal|Assertion/m.test(stderr)) return `it says: ${stderr}`;
  if (status === 0) return undefined;
  if (mustSucceed) return `it fails with ${status}: ${stderr}`;
  if (!codes.includes(status ?? -1)) return `it ends with ${status}, not ${codes.join(" or ")}: ${stderr}`;
  if (!/^error: /m.test(stderr)) return `it ends with ${status} and no error: ${stderr}`;
  return message === undefined || message.test(stderr) ? undefined : `its error is not about the fault: ${stderr}`;
}

/** Temporary files of the product, and whatever is in TMPDIR. */
function leftovers({ directory, tmp, target, cache }: Place): readonly string[] {
  const below = (at: string) => (existsSync(at) ? readdirSync(at, { recursive: true }).map(String) : []);
  return [
    ...below(tmp).map((name) => join(tmp, name)),
    ...[target, cache].flatMap((at) =>
      below(at)
        .filter((name) => /(^|\/)\.?oci-nix-/.test(name))
        .map((name) => join(at, name)),
    ),
  ].map((file) => file.slice(directory.length + 1));
}
