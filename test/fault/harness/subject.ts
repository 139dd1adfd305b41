import { join } from "node:path";
import { PROJECT } from "../../support/cli.js";
import { runOk } from "../../support/command.js";
import { hashOf, type Place, type World } from "./world.js";

export type State = "old" | "new";

/** A command, and what it makes of an old state. */
export interface Subject {
  readonly name: string;
  /** Makes the old state. */
  prepare(place: Place): Promise<void>;
  args(place: Place): readonly string[];
  /** Which state is there, whole. @throws Error where it is neither */
  state(place: Place): Promise<State>;
  /** Ends what {@link prepare} started. */
  dispose?(place: Place): Promise<void>;
  /** Takes standard output; by default a file does. */
  readonly receive?: Place["receive"];
  /** Real programs read what is there. */
  read(place: Place): Promise<void>;
  /** Another command with the same output, at the same time. */
  rival(place: Place): readonly string[];
  /** What that makes is there, too. @throws Error where it is not */
  checkRival?(place: Place): Promise<void>;
  /** What it reads: files of these, or a registry. */
  readonly inputs: "store" | "source" | "database" | "registry";
  /** Whether it writes below the place's target, to standard output, or elsewhere. */
  readonly writes: "target" | "stdout" | "registry" | "daemon";
  readonly hasCache: boolean;
}

export type Made = Omit<Subject, "name">;

export const PROGRAM = join(PROJECT, "bin", "oci-nix.js");

export const KEEP = ["--blob-cache", "100MB"];

export function buildArgs(place: Place, root: string): readonly string[] {
  return [
    ...[root, "--store-root", place.storeRoot, "--cache-dir", place.cache, "--name", "app", "--tag", "1"],
    ...["--max-layers", "6", "--progress", "none"],
  ];
}

export async function ok(world: World, args: readonly string[]): Promise<void> {
  await runOk(process.execPath, [PROGRAM, ...args], {
    env: { ...process.env, XDG_CACHE_HOME: join(world.directory, "cache-home") },
  });
}

/** Files that are made once, and what they hash to. */
export async function reference(world: World, name: string, make: (file: string) => Promise<void>): Promise<string> {
  const file = join(world.directory, name);
  await make(file);
  return file;
}

/** Which of two files another one equals. */
export function fileState(file: string, old: string | undefined, made: string): State {
  const hash = hashOf(file);
  if (hash === hashOf(made)) return "new";
  if (hash === (old === undefined ? undefined : hashOf(old))) return "old";
  throw new Error(`${file} is neither the old file nor the new one: ${hash ?? "it is missing"}`);
}

export function stateOf(digest: string, digests: Readonly<Record<State, string>>): State {
  if (digest === digests.new) return "new";
  if (digest === digests.old) return "old";
  throw new Error(`the image is neither the old one nor the new one: ${digest}`);
}

/** Copies an image to a directory, so that every byte is read and every digest compared. */
export async function skopeo(from: string, world: World, id: string, flags: readonly string[] = []): Promise<void> {
  const to = join(world.directory, `skopeo-${id}`);
  await runOk("skopeo", ["copy", "--insecure-policy", "-q", ...flags, from, `dir:${to}`]);
  await runOk("rm", ["-rf", to]);
}
