import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "../../support/command.js";
import { buildDaemon, streamLoad } from "./daemon-subjects.js";
import { checkBlobs, checkImage, manifestOf, refsOf } from "./images.js";
import { copyFromRegistry, copyToRegistry, push } from "./registry-subjects.js";
import {
  buildArgs,
  fileState,
  KEEP,
  type Made,
  ok,
  PROGRAM,
  reference,
  type Subject,
  skopeo,
  stateOf,
} from "./subject.js";
import { copyTree, type Place, type World } from "./world.js";

/** The commands, with what they are to make: that is made here, once and undisturbed. */
export async function makeSubjects(world: World, names?: readonly string[]): Promise<readonly Subject[]> {
  await makeSource(world);
  const chosen = Object.entries(SUBJECTS).filter(([name]) => names === undefined || names.includes(name));
  return await Promise.all(chosen.map(async ([name, make]) => ({ name, ...(await make(world)) })));
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
  "copy-to-registry": copyToRegistry,
  "copy-from-registry": copyFromRegistry,
  "nix-db": nixDb,
  disk,
  "build-daemon": buildDaemon,
  "stream-load": streamLoad,
};

export const SUBJECT_NAMES: readonly string[] = Object.keys(SUBJECTS);

/** Those that need a Docker daemon of their own for each run. */
export const DAEMON_SUBJECTS: readonly string[] = ["build-daemon", "stream-load"];
