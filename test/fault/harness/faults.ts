import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CommandResult, RunningCommand } from "../../support/command.js";
import { type Fault as ProxyFault, startFaultProxy } from "../../support/fault-proxy.js";
import { CHANGING, type Injection, NAMING, READING } from "./preload.js";
import type { Random } from "./random.js";
import type { Subject } from "./subject.js";
import {
  bytesBelow,
  type Place,
  type PlacePath,
  type RunOptions,
  restoreInputs,
  runIn,
  type World,
  withOwnInputs,
} from "./world.js";

/** What a case of a fault is made with. */
export interface Case {
  readonly world: World;
  readonly subject: Subject;
  readonly place: Place;
  readonly random: Random;
  /** From 1. */
  readonly round: number;
  /** How long the command takes undisturbed. */
  readonly wholeMs: number;
  /** How many calls it makes undisturbed. */
  calls(injection: Pick<Injection, "ops" | "onlyNode">, below: PlacePath): Promise<number>;
}

/** How a run may end under a fault, besides well and with an error that says what happened. */
export interface Allowed {
  /** Exit codes of errors; by default 1. */
  readonly codes?: readonly number[];
  readonly signals?: readonly NodeJS.Signals[];
  /** What errors say. */
  readonly message?: RegExp;
  /** Whether temporary files may stay until the next run, as they cannot be removed. */
  readonly mayLeave?: boolean;
  /** Whether it has to do what it was asked for nevertheless. */
  readonly mustSucceed?: boolean;
}

export interface Disturbed {
  readonly result: CommandResult;
  readonly allowed: Allowed;
  /** Where the run goes on from; its inputs are as they were. */
  readonly place: Place;
}

export interface Fault {
  readonly kind: string;
  readonly needsRoot?: boolean;
  appliesTo(subject: Subject): boolean;
  /** Prepares the place, runs the command under the fault and takes the fault away. */
  disturb(each: Case): Promise<Disturbed>;
}

const all = () => true;
const readsFiles = ({ inputs }: Subject) => inputs === "store" || inputs === "source";
const writesStdout = ({ writes }: Subject) => writes === "stdout";
const writesFiles = ({ writes }: Subject) => writes === "target";
const hasCache = (subject: Subject) => subject.hasCache;
const UNDER_A_SIGNAL: Allowed = { codes: [130, 143], message: /interrupted by SIG/ };

/** A run, in a place that holds the old state. */
async function run({ subject, place }: Case, options: RunOptions = {}, at = place): Promise<CommandResult> {
  await subject.prepare(at);
  return await runIn(at, subject.args(at), options);
}

/** At any moment of the run, and a little after it. */
function moment({ random, wholeMs }: Case): number {
  return random.next() * wholeMs * 1.05;
}

function signalled(signal: NodeJS.Signals, allowed: Allowed): Fault["disturb"] {
  return async (each) => {
    const after = moment(each);
    const meanwhile = async ({ child }: RunningCommand) => {
      await sleep(after);
      child.kill(signal);
    };
    return { result: await run(each, { meanwhile }), allowed: { signals: [signal], ...allowed }, place: each.place };
  };
}

/** At one of the calls that the run makes below a directory of its place; of those that change something, every other time at a naming one. */
function injected(
  below: PlacePath,
  counted: string,
  what: (random: Random) => Pick<Injection, "do" | "forever" | "onlyNode">,
  allowed: Allowed,
): Fault["disturb"] {
  return async (each) => {
    const { world, place, random } = each;
    const chosen = what(random);
    const ops = counted === CHANGING && random.next() < 0.5 ? NAMING : counted;
    const calls = await each.calls({ ops, ...(chosen.onlyNode === true ? { onlyNode: true } : {}) }, below);
    const at = random.between(1, Math.max(1, calls));
    const { env } = world.preload.inject({ below: place[below], ops, at, ...chosen });
    return { result: await run(each, { env }), allowed, place };
  };
}

const EIO = 5;
const ENOSPC = 28;
const EDQUOT = 122;
const FAILURES = [EIO, ENOSPC, EDQUOT] as const;
const failure = (random: Random) => ({
  do: `errno:${random.pick(FAILURES)}` as const,
  forever: random.next() < 0.5,
});
const FAILED: Allowed = {
  mayLeave: true,
  message: /EIO|ENOSPC|EDQUOT|SQLITE_(CANTOPEN|IOERR)|no space left|disk is full|I\/O error|input\/output error|quota/i,
};

/** A file system in place of a directory, with what is in it and little room for more. @param room in bytes */
function full(name: "target" | "cache" | "tmp", allowed: Allowed, room: (random: Random) => number): Fault["disturb"] {
  return async ({ place, subject, random }) => {
    const directory = place[name];
    const kept = join(place.directory, "kept");
    await subject.prepare(place);
    execFileSync("cp", ["-a", directory, kept]);
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", directory]);
    try {
      execFileSync("cp", ["-a", `${kept}/.`, directory]);
      execFileSync("mount", ["-o", `remount,size=${bytesBelow(directory) + room(random)}`, directory]);
      const result = await runIn(place, subject.args(place), redirected(subject, place, name));
      execFileSync("rm", ["-rf", kept]);
      execFileSync("cp", ["-a", directory, kept]);
      return { result, allowed, place };
    } finally {
      execFileSync("umount", [directory]);
      execFileSync("rm", ["-rf", directory]);
      renameSync(kept, directory);
    }
  };
}

/** A stream goes to a file on the full file system. */
function redirected({ writes }: Subject, { target, stdout }: Place, name: string): RunOptions {
  if (name !== "target" || writes !== "stdout") return {};
  return {
    wrapper: ["sh", "-c", '"$@" > "$0"; status=$?; cp "$0" "$OUT"; rm "$0"; exit $status', join(target, "stream.tar")],
    env: { OUT: stdout },
    read: async (running) => void running.stdout.resume(),
  };
}

/** Waits until a process stops itself. @returns false where it ended before */
async function stopped({ child }: RunningCommand): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      if (/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"))) return true;
    } catch {
      return false;
    }
    await sleep(2);
  }
  return false;
}

/** Something is done to the files that are read, at one of the calls that read them; `file` is the one that is being read. */
function changed(change: (objects: string, random: Random, file: string) => void, allowed: Allowed): Fault["disturb"] {
  return async (each) => {
    const { world, subject, random } = each;
    const place = withOwnInputs(world, each.place);
    const below = subject.inputs === "source" ? "source" : "objects";
    const objects = below === "source" ? join(place.source, "blobs/sha256") : place.objects;
    const calls = await each.calls({ ops: READING, onlyNode: true }, below);
    const at = random.between(1, Math.max(1, calls));
    const injected = world.preload.inject({ below: place[below], ops: READING, at, do: "stop", onlyNode: true });
    const meanwhile = async (running: RunningCommand) => {
      if (!(await stopped(running))) return;
      try {
        change(objects, random, injected.stoppedAt());
      } finally {
        running.child.kill("SIGCONT");
      }
    };
    const result = await run(each, { env: injected.env, meanwhile }, place);
    restoreInputs(world, place);
    return { result, allowed, place };
  };
}

function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function pickObject(objects: string, random: Random): string {
  return join(
    objects,
    random.pick(
      readdirSync(objects)
        .filter((name) => !name.startsWith("."))
        .sort(),
    ),
  );
}

/** Changes a file as who does not know what a store is. */
function edit(file: string, random: Random, change: () => void): void {
  const { mode, mtime, atime } = statSync(file);
  chmodSync(file, 0o644);
  change();
  chmodSync(file, mode);
  if (random.next() < 0.5) utimesSync(file, atime, mtime);
}

const CHANGED: Allowed = { codes: [1, 3] };

/** Kinds of faults, in the order of tables. */
export const FAULTS: readonly Fault[] = [
  { kind: "SIGKILL at a moment", appliesTo: all, disturb: signalled("SIGKILL", {}) },
  {
    kind: "SIGKILL at a call that writes",
    appliesTo: all,
    async disturb(each) {
      const { world, place, subject, random, round } = each;
      const below = subject.writes === "target" ? "target" : "directory";
      // Every other round after one of the few that name files, each in its turn: a commit is a moment that chance seldom finds.
      const isNaming = round % 2 === 1;
      const ops = isNaming ? NAMING : CHANGING;
      const calls = Math.max(1, await each.calls({ ops, onlyNode: true }, below));
      const at = isNaming ? calls - (((round - 1) / 2) % calls) : random.between(1, calls);
      const { env } = world.preload.inject({ below: place[below], ops, at, do: "kill", onlyNode: true });
      return { result: await run(each, { env }), allowed: { signals: ["SIGKILL"] }, place };
    },
  },
  { kind: "SIGTERM at a moment", appliesTo: all, disturb: signalled("SIGTERM", UNDER_A_SIGNAL) },
  { kind: "SIGINT at a moment", appliesTo: all, disturb: signalled("SIGINT", UNDER_A_SIGNAL) },
  {
    kind: "closed standard output",
    appliesTo: all,
    async disturb(each) {
      const limit = each.random.between(0, 3_000_000);
      const read = async ({ stdout }: RunningCommand) => {
        let size = 0;
        for await (const piece of stdout) {
          size += (piece as Buffer).length;
          appendFileSync(each.place.stdout, piece as Buffer);
          if (size >= limit) break;
        }
      };
      const nobody = async ({ stdout }: RunningCommand) => void stdout.destroy();
      const result = await run(each, { read: each.subject.writes === "stdout" && limit > 0 ? read : nobody });
      return { result, allowed: { message: /standard output: the reader went away/ }, place: each.place };
    },
  },
  {
    kind: "slow reader",
    appliesTo: writesStdout,
    async disturb(each) {
      const { place, random } = each;
      const read = async ({ stdout }: RunningCommand) => {
        for await (const piece of stdout) {
          appendFileSync(place.stdout, piece as Buffer);
          if (random.next() < 0.1) await sleep(random.between(0, 60));
        }
      };
      return { result: await run(each, { read }), allowed: { mustSucceed: true }, place };
    },
  },
  {
    kind: "full file system of the output",
    needsRoot: true,
    appliesTo: (subject) => writesFiles(subject) || writesStdout(subject),
    disturb: full("target", { message: /no space left|full/ }, (random) => random.between(4096, 12_000_000)),
  },
  {
    kind: "full file system of the cache",
    needsRoot: true,
    appliesTo: hasCache,
    disturb: full("cache", { mustSucceed: true }, (random) => 2 ** random.between(12, 22)),
  },
  {
    kind: "full TMPDIR",
    needsRoot: true,
    appliesTo: all,
    disturb: full("tmp", { message: /no space left|full|copied to/ }, (random) => 2 ** random.between(12, 22)),
  },
  {
    kind: "failing reads",
    appliesTo: ({ inputs }) => inputs === "store" || inputs === "database",
    disturb: injected("storeRoot", READING, (random) => ({ do: `errno:${EIO}`, forever: random.next() < 0.5 }), FAILED),
  },
  {
    kind: "failing reads of a layout",
    appliesTo: ({ inputs }) => inputs === "source",
    disturb: injected("source", READING, (random) => ({ do: `errno:${EIO}`, forever: random.next() < 0.5 }), FAILED),
  },
  {
    kind: "short reads",
    appliesTo: readsFiles,
    async disturb(each) {
      const below = each.subject.inputs === "source" ? "source" : "storeRoot";
      const what = (random: Random) => ({ do: "short", forever: random.next() < 0.5 }) as const;
      return await injected(below, "read", what, { mustSucceed: true })(each);
    },
  },
  {
    kind: "failing calls on the output",
    appliesTo: writesFiles,
    disturb: injected("target", CHANGING, failure, FAILED),
  },
  {
    kind: "short writes to the output",
    appliesTo: writesFiles,
    disturb: injected("target", "write", (random) => ({ do: "short", forever: random.next() < 0.5 }), {
      mustSucceed: true,
    }),
  },
  {
    kind: "failing calls on the cache",
    appliesTo: hasCache,
    disturb: injected("cache", `${CHANGING} ${READING}`, failure, { mustSucceed: true, mayLeave: true }),
  },
  {
    kind: "failing calls in TMPDIR",
    appliesTo: all,
    disturb: injected("tmp", `${CHANGING} ${READING}`, failure, FAILED),
  },
  {
    kind: "read-only cache",
    needsRoot: true,
    appliesTo: hasCache,
    async disturb(each) {
      const { cache } = each.place;
      execFileSync("mount", ["--bind", cache, cache]);
      try {
        execFileSync("mount", ["-o", "remount,ro,bind", cache]);
        return { result: await run(each), allowed: { mustSucceed: true }, place: each.place };
      } finally {
        execFileSync("umount", [cache]);
      }
    },
  },
  { kind: "two at once", appliesTo: all, disturb: (each) => twoAtOnce(each, undefined) },
  { kind: "two at once, one is killed", appliesTo: all, disturb: (each) => twoAtOnce(each, moment(each)) },
  {
    kind: "store path moved away",
    appliesTo: readsFiles,
    disturb: changed((objects, random) => {
      const object = pickObject(objects, random);
      renameSync(object, join(objects, "..", "moved"));
    }, CHANGED),
  },
  {
    kind: "store path collected",
    appliesTo: readsFiles,
    disturb: changed((objects, random) => execFileSync("rm", ["-rf", pickObject(objects, random)]), CHANGED),
  },
  {
    kind: "store optimised",
    appliesTo: readsFiles,
    disturb: changed(
      (objects) => {
        const links = join(objects, "..", "links");
        mkdirSync(links);
        for (const [i, file] of filesBelow(objects).entries()) {
          const { atime, mtime } = statSync(file);
          // Another file of the same bytes takes its place, as that which Nix keeps in .links.
          copyFileSync(file, join(links, String(i)));
          utimesSync(join(links, String(i)), atime, mtime);
          chmodSync(join(links, String(i)), statSync(file).mode);
          renameSync(join(links, String(i)), file);
        }
      },
      { mustSucceed: true },
    ),
  },
  {
    kind: "file cut off",
    appliesTo: readsFiles,
    disturb: changed((_, random, file) => {
      const { size } = statSync(file);
      if (size > 0) edit(file, random, () => truncateSync(file, random.between(0, size - 1)));
    }, CHANGED),
  },
  {
    kind: "file grown",
    appliesTo: readsFiles,
    disturb: changed((_, random, file) => {
      edit(file, random, () => appendFileSync(file, "more".repeat(random.between(1, 20_000))));
    }, CHANGED),
  },
  {
    kind: "failing registry",
    appliesTo: ({ inputs, writes }) => inputs === "registry" || writes === "registry",
    disturb: failingRegistry,
  },
  {
    kind: "killed Docker daemon",
    appliesTo: ({ writes }) => writes === "daemon",
    disturb: killedDaemon,
  },
  {
    kind: "jumping clock",
    appliesTo: all,
    async disturb(each) {
      const env = each.world.preload.clock(each.random.between(1, 1000));
      return { result: await run(each, { env }), allowed: { mustSucceed: true }, place: each.place };
    },
  },
  {
    kind: "few descriptors",
    appliesTo: all,
    async disturb(each) {
      // With fewer Node itself does not start.
      const limit = each.random.between(20, 70);
      const wrapper = ["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh"];
      const allowed = { message: /too many open files|EMFILE|open files/i };
      return { result: await run(each, { wrapper }), allowed, place: each.place };
    },
  },
];

/** What a registry may do wrong to a request, or what stands between. */
function registryFault(random: Random, keepsParts: boolean): ProxyFault {
  const after = random.between(0, 3_000_000);
  const pause = random.pick([undefined, "0", "1"]);
  const status = random.pick([429, 500, 502, 503, 504]);
  return random.pick<ProxyFault>([
    { kind: "answer", status, headers: pause === undefined ? {} : { "Retry-After": pause } },
    { kind: "drop", after },
    keepsParts ? { kind: "cut", after } : { kind: "silence" },
    { kind: "truncate", after },
    { kind: "slow", ms: random.between(10, 500) },
  ]);
}

/** Requests fail now and then, or for good. */
async function failingRegistry(each: Case): Promise<Disturbed> {
  const { world, random, place, subject } = each;
  const keepsParts = random.next() < 0.5;
  const proxy = await startFaultProxy(world.registry.host, { keepsParts });
  try {
    for (let count = random.between(1, 6); count > 0; count--) {
      const method = random.pick([undefined, "GET", "HEAD", "POST", "PUT", "PATCH"]);
      const anywhere = random.pick([undefined, /\/blobs\//, /\/manifests\//]);
      const times = random.next() < 0.15 ? Number.POSITIVE_INFINITY : random.between(1, 4);
      const fault = registryFault(random, keepsParts);
      // Only uploads have parts that a registry could keep.
      const path = fault.kind === "cut" ? /\/blobs\/uploads\// : anywhere;
      proxy.inject({ ...(method && { method }), ...(path && { path }), times, fault });
    }
    // The moment that matters, which chance seldom finds.
    if (random.next() < 0.5) {
      const fault = { kind: "answer", status: 500 } as const;
      proxy.inject({ method: "PUT", path: /\/manifests\//, times: random.pick([2, 10]), fault });
    }
    const result = await run(each, {}, { ...place, registry: proxy.host });
    const sent = proxy.requests.filter(({ method }) => /^P/.test(method)).map(({ url }) => url);
    const first = sent.findIndex((url) => url.includes("/manifests/"));
    if (first !== -1 && sent.slice(first).some((url) => url.includes("/blobs/"))) {
      throw new Error(`after a manifest ${subject.name} sends blobs`);
    }
    return { result, allowed: { codes: [75], message: UNAVAILABLE }, place };
  } finally {
    await proxy.stop();
  }
}

const UNAVAILABLE = /cannot be reached|the registry answered (429|5\d\d)|broke|ended after|closed the connection/;

async function killedDaemon(each: Case): Promise<Disturbed> {
  const { world, place } = each;
  const after = moment(each);
  const daemon = () => world.daemons.get(place.id);
  const meanwhile = async () => {
    await sleep(after);
    await daemon()?.kill();
  };
  const result = await run(each, { meanwhile });
  await daemon()?.restart();
  const message =
    /the Docker daemon at .*(closed the connection|cannot be reached)|there is no Docker daemon|reader went away|docker/i;
  return { result, allowed: { codes: [75, 1], message }, place };
}

/** Two runs with one output and one cache. @param killMs when the other one is killed */
async function twoAtOnce(each: Case, killMs: number | undefined): Promise<Disturbed> {
  const { subject, place, random } = each;
  const directory = join(place.directory, "rival");
  mkdirSync(directory);
  const rival = { ...place, directory, stdout: join(directory, "stdout") };
  await subject.prepare(place);
  const args = subject.args(place);
  const late = killMs === undefined ? random.between(0, 100) : 0;
  const others = (async () => {
    await sleep(late);
    return await runIn(rival, subject.rival(place), {
      meanwhile: async ({ child }) => {
        if (killMs === undefined) return;
        await sleep(killMs);
        child.kill("SIGKILL");
      },
    });
  })();
  const [result, other] = await Promise.all([runIn(place, args), others]);
  if (other.status !== 0 && other.signal !== "SIGKILL") return { result: other, allowed: { mustSucceed: true }, place };
  if (other.status === 0) await subject.checkRival?.(place);
  return { result, allowed: { mustSucceed: true, mayLeave: killMs !== undefined }, place };
}
