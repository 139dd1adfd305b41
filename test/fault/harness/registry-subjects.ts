import { join } from "node:path";
import { Repository } from "./images.js";
import { buildArgs, fileState, KEEP, type Made, ok, reference, type State, skopeo, stateOf } from "./subject.js";
import { copyTree, type Place, type World } from "./world.js";

const STATES = ["old", "new"] as const;

/** What is made of an image at the registry, once both states of it are in a repository of this name. */
async function atRegistry(
  { registry: { host } }: World,
  base: string,
  make: (tag: State, to: string) => Promise<void>,
): Promise<{ readonly digests: Readonly<Record<State, string>> } & Pick<Made, "prepare" | "state">> {
  for (const tag of STATES) await make(tag, `docker://${host}/${base}:${tag}`);
  const repository = new Repository(host, base);
  const digests = {
    old: (await repository.manifest("old")).digest,
    new: (await repository.manifest("new")).digest,
  };
  return {
    digests,
    prepare: async ({ id }) => await new Repository(host, id).mount(base, "old", repository, "app"),
    async state({ id }) {
      const own = new Repository(host, id);
      for (const tag of await own.tags()) await own.check(tag);
      return stateOf((await own.manifest("app")).digest, digests);
    },
  };
}

async function checkOther({ registry }: World, { id }: Place, digest: string): Promise<void> {
  const other = await new Repository(registry.host, id).manifest("other");
  if (other.digest !== digest) throw new Error("the rival's image is another");
}

const placeOf = ({ registry, id }: Place, tag: string) => `docker://${registry}/${id}:${tag}`;

async function readPlace(world: World, { id }: Place): Promise<void> {
  await skopeo(`docker://${world.registry.host}/${id}:app`, world, id, ["--src-tls-verify=false"]);
}

export async function push(world: World): Promise<Made> {
  const { store } = world;
  const roots = { old: store.oldRoot, new: store.newRoot };
  const { digests, ...common } = await atRegistry(world, "base", async (tag, to) => {
    const args = [roots[tag], "--store-root", store.storeRoot, "--max-layers", "6", "--quiet", "--no-cache"];
    await ok(world, ["push", ...args, to]);
  });
  return {
    ...{ inputs: "store", writes: "registry", hasCache: true, ...common },
    args: (at) => ["push", ...buildArgs(at, store.newRoot), placeOf(at, "app"), ...KEEP],
    read: (at) => readPlace(world, at),
    rival: (at) => ["push", ...buildArgs(at, store.oldRoot), placeOf(at, "other"), ...KEEP],
    checkRival: (at) => checkOther(world, at, digests.old),
  };
}

export async function copyToRegistry(world: World): Promise<Made> {
  const { digests, ...common } = await atRegistry(world, "copied", (tag, to) =>
    ok(world, ["copy", `oci:${world.source}:${tag}`, to, "--quiet"]),
  );
  return {
    ...{ inputs: "source", writes: "registry", hasCache: false, ...common },
    args: (at) => ["copy", `oci:${at.source}:new`, placeOf(at, "app")],
    read: (at) => readPlace(world, at),
    rival: (at) => ["copy", `oci:${at.source}:old`, placeOf(at, "other")],
    checkRival: (at) => checkOther(world, at, digests.old),
  };
}

export async function copyFromRegistry(world: World): Promise<Made> {
  const from = (registry: string, tag: State) => `docker://${registry}/served:${tag}`;
  const make = async (tag: State) => {
    await ok(world, ["copy", `oci:${world.source}:${tag}`, from(world.registry.host, tag), "--quiet"]);
    return await reference(world, `${tag}-served.tar`, (file) =>
      ok(world, ["copy", from(world.registry.host, tag), `oci-archive:${file}:app`, "--quiet"]),
    );
  };
  const [old, made] = [await make("old"), await make("new")];
  const file = (place: Place) => join(place.target, "image.tar");
  const args = (place: Place) => ["copy", from(place.registry, "new"), `oci-archive:${file(place)}:app`];
  return {
    ...{ inputs: "registry", writes: "target", hasCache: false },
    prepare: async (place) => copyTree(old, file(place)),
    args,
    state: async (place) => fileState(file(place), old, made),
    read: async (place) => await skopeo(`oci-archive:${file(place)}:app`, world, place.id),
    rival: args,
  };
}
