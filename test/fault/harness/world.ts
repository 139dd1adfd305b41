import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type CliOptions, startCli } from "../../support/cli.js";
import type { CommandResult, RunningCommand } from "../../support/command.js";
import type { MortalDocker } from "../../support/daemons.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../../support/registry.js";
import { Preload } from "./preload.js";
import { type FaultStore, makeFaultStore } from "./store.js";

/** What a campaign needs that may be absent. */
export const FAULT_TOOLS = ["gcc", "skopeo", "sqlite3", "mke2fs", "cp", ...REGISTRY_TOOLS] as const;

/** Where one run happens: directories of its own. */
export interface Place {
  /** Unique, and fit for the name of a repository. */
  readonly id: string;
  readonly directory: string;
  /** What the command writes to. */
  readonly target: string;
  readonly cache: string;
  /** TMPDIR. */
  readonly tmp: string;
  /** What the run wrote to standard output. */
  readonly stdout: string;
  /** The campaign's own, or a copy that may be changed. */
  readonly storeRoot: string;
  /** The store in it. */
  readonly objects: string;
  /** A layout that images are copied from; the same goes for it. */
  readonly source: string;
  /** `HOST:PORT` of the registry, or of what stands in front of it. */
  readonly registry: string;
  /** Where a Docker daemon of the place's own listens, if it has one. */
  readonly dockerSocket: string;
  /** Takes what the run writes to standard output; a program's end counts as in a pipe with `pipefail`. */
  readonly receive: (running: RunningCommand, place: Place) => Promise<CommandResult | undefined>;
}

/** What of a place is a file's name. */
export type PlacePath = Exclude<keyof Place, "receive" | "id" | "registry">;

/** What all runs of a campaign share. */
export interface World {
  readonly directory: string;
  readonly store: FaultStore;
  readonly registry: TestRegistry;
  readonly preload: Preload;
  /** A layout with the images `old` and `new`. */
  readonly source: string;
  /** Docker daemons, by the place that each is for. */
  readonly daemons: Map<string, MortalDocker>;
  remove(): Promise<void>;
}

export async function makeWorld(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-faults-"));
  const store = await makeFaultStore(directory);
  const preload = new Preload(directory);
  const registry = await startRegistry();
  const daemons = new Map<string, MortalDocker>();
  return {
    ...{ directory, store, preload, registry, source: join(directory, "source"), daemons },
    async remove() {
      for (const daemon of daemons.values()) await daemon.stop();
      await registry.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Makes a place. @param receive by default keeps the output in the place's file */
export function makePlace(world: World, id: string, receive: Place["receive"] = keepOutput): Place {
  const directory = join(world.directory, "places", id);
  const at = (name: string) => join(directory, name);
  for (const name of ["target", "cache", "tmp"]) mkdirSync(at(name), { recursive: true });
  return {
    ...{ id, directory, target: at("target"), cache: at("cache"), tmp: at("tmp"), stdout: at("stdout") },
    storeRoot: world.store.storeRoot,
    objects: join(world.store.storeRoot, "nix/store"),
    source: world.source,
    registry: world.registry.host,
    dockerSocket: at("docker.sock"),
    receive,
  };
}

/** The place with a store and a source of its own, which may be changed. */
export function withOwnInputs(world: World, place: Place): Place {
  const storeRoot = join(place.directory, "store-root");
  const own = { ...place, storeRoot, objects: join(storeRoot, "nix/store"), source: join(place.directory, "source") };
  restoreInputs(world, own);
  return own;
}

/** Store and source are as they were made. */
export function restoreInputs(world: World, place: Place): void {
  for (const [from, to] of [
    [world.store.storeRoot, place.storeRoot],
    [world.source, place.source],
  ] as const) {
    if (from === to) continue;
    execFileSync("rm", ["-rf", to]);
    execFileSync("cp", ["-a", from, to]);
  }
}

/** How a run under a fault is started, and what is done meanwhile. */
export interface RunOptions extends Pick<CliOptions, "env" | "wrapper"> {
  /** Reads standard output; by default the place receives it. */
  readonly read?: (running: RunningCommand) => Promise<void>;
  /** Goes on while it runs. */
  readonly meanwhile?: (running: RunningCommand) => Promise<void>;
}

const LIMIT_MS = 60_000;

/** Runs the command line in a place to its end. */
export async function runIn(place: Place, args: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const running = startCli(args, {
    cwd: place.directory,
    timeoutMs: LIMIT_MS,
    env: { TMPDIR: place.tmp, UV_USE_IO_URING: "0", DOCKER_HOST: `unix://${place.dockerSocket}`, ...options.env },
    ...(options.wrapper === undefined ? {} : { wrapper: options.wrapper }),
  });
  const [result, received] = await Promise.all([
    running.ended,
    options.read === undefined ? place.receive(running, place) : options.read(running).then(() => undefined),
    options.meanwhile?.(running),
  ]);
  return result.status === 0 && received !== undefined ? received : result;
}

async function keepOutput({ stdout }: RunningCommand, place: Place): Promise<undefined> {
  await pipeline(stdout, createWriteStream(place.stdout));
}

/** Bytes below a directory. */
export function bytesBelow(directory: string): number {
  if (!existsSync(directory)) return 0;
  return 1024 * Number(execFileSync("du", ["-sk", directory]).toString().split("\t")[0]);
}

export function copyTree(from: string, to: string): void {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** SHA-256 of a file in hexadecimal; undefined where there is none. */
export function hashOf(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
