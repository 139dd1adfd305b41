import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../support/cli.js";
import { runOk } from "../../support/command.js";
import { checkBlobs, checkImage, manifestOf, Repository, refsOf } from "./images.js";
import { copyTree, hashOf, type Place, type World } from "./world.js";

export type State = "old" | "new";

/** A command, and what it makes of an old state. */
export interface Subject {
  readonly name: string;
  /** Makes the old state. */
  prepare(place: Place): Promise<void>;
  args(place: Place): readonly string[];
  /** Which state is there, whole. @throws Error where it is neither */
  state(place: Place): Promise<State>;
  /** Real programs read what is there. */
  read(place: Place): Promise<void>;
  /** Another command with the same output, at the same time. */
  rival(place: Place): readonly string[];
  /** What that makes is there, too. @throws Error where it is not */
  checkRival?(place: Place): Promise<void>;
  /** Whose files it reads. */
  readonly inputs: "store" | "source" | "database";
  /** Whether it writes below the place's target, to standard output, or elsewhere. */
  readonly writes: "target" | "stdout" | "registry";
  readonly hasCache: boolean;
}

/** The commands, with what they are to make: that is made here, once and undisturbed. */
export async function makeSubjects(world: World, names?: readonly string[]): Promise<readonly Subject[]> {
  await makeSource(world);
  const chosen = Object.entries(SUBJECTS).filter(([name]) => names === undefined || names.includes(name));
  return await Promise.all(chosen.map(async ([name, make]) => ({ name, ...(await make(world)) })));
}

type Made = Omit<Subject, "name">;

const PROGRAM = join(PROJECT, "bin", "oci-nix.js");

const KEEP = ["--blob-cache", "100MB"];

function buildArgs(place: Place, root: string): readonly string[] {
  return [
    ...[root, "--store-root", place.storeRoot, "--cache-dir", place.cache, "--name", "app", "--tag", "1"],
    ...["--max-layers", "6", "--progress", "none"],
  ];
}

async function ok(world: World, args: readonly string[]): Promise<void> {
  await runOk(process.execPath, [PROGRAM, ...args], {
    env: { ...process.env, XDG_CACHE_HOME: join(world.directory, "cache-home") },
  });
}

async function makeSource(world: World): Promise<void> {
  for (const [tag, root] of [
    ["old", world.store.oldRoot],
    ["new", world.store.newRoot],
  ] as const) {
    const args = [root, "--store-root", world.store.storeRoot, "--max-layers", "6", "--quiet", "--no-cache"];
    await ok(world, ["build", ...args, "--to", `oci:${world.source}:${tag}`]);
  }
}

/** Files that are made once, and what they hash to. */
async function reference(world: World, name: string, make: (file: string) => Promise<void>): Promise<string> {
  const file = join(world.directory, name);
  await make(file);
  return file;
}

/** Which of two files another one equals. */
function fileState(file: string, old: string | undefined, made: string): State {
  const hash = hashOf(file);
  if (hash === hashOf(made)) return "new";
  if (hash === (old === undefined ? undefined : hashOf(old))) return "old";
  throw new Error(`${file} is neither the old file nor the new one: ${hash ?? "it is missing"}`);
}

async function stream(world: World): Promise<Made> {
  const root = world.store.newRoot;
  const whole = await reference(world, "stream.tar", async (file) => {
    const args = [root, "--store-root", world.store.storeRoot, "--name", "app", "--tag", "1", "--max-layers", "6"];
    await runOk("sh", [
      "-c",
      '"$@" > "$0"',
      file,
      process.execPath,
      PROGRAM,
      "stream",
      ...args,
      "--no-cache",
      "--quiet",
    ]);
  });
  await skopeo(`docker-archive:${whole}`, world, "stream");
  const bytes = readFileSync(whole);
  return {
    ...{ inputs: "store", writes: "stdout", hasCache: true },
    prepare: async () => undefined,
    args: (place) => ["stream", ...buildArgs(place, root)],
    async state({ stdout }) {
      const found = existsSync(stdout) ? readFileSync(stdout) : Buffer.alloc(0);
      if (found.equals(bytes)) return "new";
      if (found.equals(bytes.subarray(0, found.length))) return "old";
      throw new Error(`what was streamed is not the beginning of the archive`);
    },
    read: async () => undefined,
    rival: (place) => ["stream", ...buildArgs(place, root)],
  };
}

async function layout(world: World): Promise<Made> {
  const { oldRoot, newRoot } = world.store;
  const old = join(world.directory, "old-layout");
  await ok(world, ["copy", `oci:${world.source}:old`, `oci:${old}:app`, "--quiet"]);
  const digests = { old: manifestOf(world.source, "old"), new: manifestOf(world.source, "new") };
  const to = (place: Place, tag: string) => ["--to", `oci:${join(place.target, "layout")}:${tag}`, ...KEEP];
  return {
    ...{ inputs: "store", writes: "target", hasCache: true },
    prepare: async (place) => copyTree(old, join(place.target, "layout")),
    args: (place) => ["build", ...buildArgs(place, newRoot), ...to(place, "app")],
    async state({ target }) {
      const directory = join(target, "layout");
      checkBlobs(directory);
      for (const tag of refsOf(directory)) checkImage(directory, manifestOf(directory, tag));
      return stateOf(manifestOf(directory, "app"), digests);
    },
    read: async (place) => await skopeo(`oci:${join(place.target, "layout")}:app`, world, place.id),
    rival: (place) => ["build", ...buildArgs(place, oldRoot), ...to(place, "other")],
    async checkRival({ target }) {
      if (manifestOf(join(target, "layout"), "other") !== digests.old) throw new Error("the rival's image is another");
    },
  };
}

async function archive(world: World): Promise<Made> {
  const make = (tag: string) =>
    reference(world, `${tag}-docker.tar`, (file) =>
      ok(world, ["copy", `oci:${world.source}:${tag}`, `docker-archive:${file}:app:1`, "--quiet"]),
    );
  const [old, made] = [await make("old"), await make("new")];
  const file = (place: Place) => join(place.target, "image.tar");
  const args = (place: Place, root: string) => [
    ...["build", ...buildArgs(place, root), "--to", `docker-archive:${file(place)}:app:1`, ...KEEP],
  ];
  return {
    ...{ inputs: "store", writes: "target", hasCache: true },
    prepare: async (place) => copyTree(old, file(place)),
    args: (place) => args(place, world.store.newRoot),
    state: async (place) => fileState(file(place), old, made),
    read: async (place) => await skopeo(`docker-archive:${file(place)}`, world, place.id),
    rival: (place) => args(place, world.store.newRoot),
  };
}

async function copy(world: World): Promise<Made> {
  const make = (tag: string) =>
    reference(world, `${tag}-oci.tar`, (file) =>
      ok(world, ["copy", `oci:${world.source}:${tag}`, `oci-archive:${file}:app`, "--quiet"]),
    );
  const [old, made] = [await make("old"), await make("new")];
  const file = (place: Place) => join(place.target, "image.tar");
  const args = (place: Place) => ["copy", `oci:${place.source}:new`, `oci-archive:${file(place)}:app`];
  return {
    ...{ inputs: "source", writes: "target", hasCache: false },
    prepare: async (place) => copyTree(old, file(place)),
    args,
    state: async (place) => fileState(file(place), old, made),
    read: async (place) => await skopeo(`oci-archive:${file(place)}:app`, world, place.id),
    rival: args,
  };
}

async function push(world: World): Promise<Made> {
  const { host } = world.registry;
  const { oldRoot, newRoot } = world.store;
  const place = (tag: string) => `docker://${host}/base:${tag}`;
  for (const [tag, root] of [
    ["old", oldRoot],
    ["new", newRoot],
  ] as const) {
    const args = [root, "--store-root", world.store.storeRoot, "--max-layers", "6", "--quiet", "--no-cache"];
    await ok(world, ["push", ...args, place(tag)]);
  }
  const base = new Repository(host, "base");
  const digests = { old: (await base.manifest("old")).digest, new: (await base.manifest("new")).digest };
  const to = ({ id }: Place, tag: string) => [`docker://${host}/${id}:${tag}`, ...KEEP];
  return {
    ...{ inputs: "store", writes: "registry", hasCache: true },
    prepare: async ({ id }) => await new Repository(host, id).mount("base", "old", base, "app"),
    args: (at) => ["push", ...buildArgs(at, newRoot), ...to(at, "app")],
    async state({ id }) {
      const repository = new Repository(host, id);
      for (const tag of await repository.tags()) await repository.check(tag);
      return stateOf((await repository.manifest("app")).digest, digests);
    },
    read: async ({ id }) => await skopeo(`docker://${host}/${id}:app`, world, id, ["--src-tls-verify=false"]),
    rival: (at) => ["push", ...buildArgs(at, oldRoot), ...to(at, "other")],
    async checkRival({ id }) {
      const { digest } = await new Repository(host, id).manifest("other");
      if (digest !== digests.old) throw new Error("the rival's image is another");
    },
  };
}

async function nixDb(world: World): Promise<Made> {
  const args = (directory: string, storeRoot: string) => [
    ...["nix-db", world.store.newRoot, "--store-root", storeRoot, "--to", directory],
  ];
  const whole = join(world.directory, "nix-db");
  await ok(world, args(whole, world.store.storeRoot));
  const database = "nix/var/nix/db/db.sqlite";
  const root = (place: Place) => join(place.target, "root");
  const check = async (file: string) => {
    // A copy: SQLite would make files beside it.
    const found = await runOk("sh", [
      "-c",
      'cp "$0" "$0.copy" && sqlite3 "$0.copy" "PRAGMA integrity_check"; rm -f "$0.copy"*',
      file,
    ]);
    if (found !== "ok\n") throw new Error(`${file}: ${found}`);
  };
  await check(join(whole, database));
  return {
    ...{ inputs: "database", writes: "target", hasCache: false },
    prepare: async () => undefined,
    args: (place) => args(root(place), place.storeRoot),
    async state(place) {
      const state = fileState(join(root(place), database), undefined, join(whole, database));
      // The database comes last: where it is, all else is.
      if (state === "new") await runOk("diff", ["-r", "--no-dereference", "--exclude=.oci-nix-*", whole, root(place)]);
      return state;
    },
    async read(place) {
      const file = join(root(place), database);
      if (existsSync(file)) await check(file);
    },
    rival: (place) => args(root(place), place.storeRoot),
  };
}

async function disk(world: World): Promise<Made> {
  const spec = (root: string, storeRoot: string) =>
    JSON.stringify({ closure: { roots: [root], storeRoot }, partitionTableType: "none", additionalSpace: "8M" });
  const make = (tag: string, root: string) =>
    reference(world, `${tag}.img`, async (file) => {
      writeFileSync(join(world.directory, "disk.json"), spec(root, world.store.storeRoot));
      await ok(world, ["disk", join(world.directory, "disk.json"), "--to", file, "--quiet"]);
      await ok(world, ["disk", "verify", file]);
    });
  const [old, made] = [await make("old", world.store.oldRoot), await make("new", world.store.newRoot)];
  const file = (place: Place) => join(place.target, "disk.img");
  const args = (place: Place) => {
    const at = join(place.directory, "disk.json");
    writeFileSync(at, spec(world.store.newRoot, place.storeRoot));
    return ["disk", at, "--to", file(place)];
  };
  return {
    ...{ inputs: "store", writes: "target", hasCache: false },
    prepare: async (place) => copyTree(old, file(place)),
    args,
    state: async (place) => fileState(file(place), old, made),
    read: async (place) => void (await runOk("e2fsck", ["-fn", file(place)])),
    rival: args,
  };
}

/** By name, in the order of tables. */
const SUBJECTS: Readonly<Record<string, (world: World) => Promise<Made>>> = {
  stream,
  "build-layout": layout,
  "build-archive": archive,
  push,
  copy,
  "nix-db": nixDb,
  disk,
};

export const SUBJECT_NAMES: readonly string[] = Object.keys(SUBJECTS);

function stateOf(digest: string, digests: Readonly<Record<State, string>>): State {
  if (digest === digests.new) return "new";
  if (digest === digests.old) return "old";
  throw new Error(`the image is neither the old one nor the new one: ${digest}`);
}

/** Copies an image to a directory, so that every byte is read and every digest compared. */
async function skopeo(from: string, world: World, id: string, flags: readonly string[] = []): Promise<void> {
  const to = join(world.directory, `skopeo-${id}`);
  await runOk("skopeo", ["copy", "--insecure-policy", "-q", ...flags, from, `dir:${to}`]);
  await runOk("rm", ["-rf", to]);
}
