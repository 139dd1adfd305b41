import type { Digest } from "../core/digest.js";
import { isJsonObject, type Json } from "../core/json.js";
import type { DockerEngine } from "./docker-engine.js";
import type { FinishedImage } from "./image.js";

/** Of a daemon's images only so many are looked at: each is a request. */
const MAX_IMAGES = 1000;
const AT_ONCE = 8;

/** Says in `docker info` that images are in containerd's store. */
const CONTAINERD = "io.containerd.snapshotter.v1";
/** Tells of a manifest whether all it names is there. */
const CONTAINERD_SINCE = "1.48";

/**
 * What layers a daemon has. Docker finds a layer of its own store by what it and all below it unpack to, before it opens the blob; so those
 * at the bottom of an image that it has need not come. With containerd's store it is the blobs that must be there, of which nobody can ask
 * beforehand, only afterwards. Podman wants all layers.
 */
export class EngineLayers {
  readonly #engine: DockerEngine;
  readonly #names: readonly string[];
  #store: "docker" | "containerd" | "unknown" | undefined;

  /** @param names what the image will be called, `name:tag` each: images of these names are looked at first */
  constructor(engine: DockerEngine, names: readonly string[]) {
    this.#engine = engine;
    this.#names = names.map(repositoryOf);
  }

  /** How many of the lowest layers may be left out. What the daemon does not tell, it does not have. */
  async countHeld(diffIds: readonly (Digest | undefined)[]): Promise<number> {
    const end = diffIds.indexOf(undefined);
    const known = end === -1 ? diffIds : diffIds.slice(0, end);
    if (known.length === 0 || this.#engine.isPodman) return 0;
    this.#store ??= await this.#askForStore();
    if (this.#store === "unknown") return 0;
    if (this.#store === "containerd" && !this.#engine.isSince(CONTAINERD_SINCE)) return 0;
    const ids = await this.#imageIds();
    let held = 0;
    for (let at = 0; at < ids.length && held < known.length; at += AT_ONCE) {
      const chains = await Promise.all(ids.slice(at, at + AT_ONCE).map((id) => this.#layersOf(id)));
      for (const chain of chains) held = Math.max(held, commonLength(chain, known));
    }
    return held;
  }

  /** Whether an image that was loaded without some of its layers has them all. */
  async isWhole(name: string, { manifest }: FinishedImage): Promise<boolean> {
    if (this.#store === "docker") return true;
    const { json } = await this.#engine.get(`/images/${name}/json?manifests=1`);
    const manifests = at(json, "Manifests");
    return (
      Array.isArray(manifests) &&
      manifests.some((entry: Json) => at(entry, "ID") === manifest.digest && at(entry, "Available") === true)
    );
  }

  /** Some daemons may be asked for images only, through a proxy. */
  async #askForStore(): Promise<"docker" | "containerd" | "unknown"> {
    const { status, json } = await this.#engine.get("/info");
    if (status !== 200 || typeof at(json, "Driver") !== "string") return "unknown";
    const driver = at(json, "DriverStatus");
    const isContainerd =
      Array.isArray(driver) && driver.some((pair: Json) => Array.isArray(pair) && pair[1] === CONTAINERD);
    return isContainerd ? "containerd" : "docker";
  }

  async #imageIds(): Promise<readonly string[]> {
    const { json } = await this.#engine.get("/images/json");
    if (!Array.isArray(json)) return [];
    const isAkin = (image: Json): boolean => {
      const tags = at(image, "RepoTags");
      return Array.isArray(tags) && tags.some((tag: Json) => this.#names.includes(repositoryOf(String(tag))));
    };
    // The daemon's order is that of the time of creation, which says nothing where it is the same for all images.
    const ordered = [...json.filter(isAkin), ...json.filter((image: Json) => !isAkin(image))];
    const ids = ordered.map((image: Json) => at(image, "Id"));
    return ids
      .filter((id): id is string => typeof id === "string" && /^sha256:[0-9a-f]{64}$/.test(id))
      .slice(0, MAX_IMAGES);
  }

  /** Bottom first; empty for an image that is not there any more. */
  async #layersOf(id: string): Promise<readonly Json[]> {
    const layers = at(at((await this.#engine.get(`/images/${id}/json`)).json, "RootFS"), "Layers");
    return Array.isArray(layers) ? layers : [];
  }
}

function repositoryOf(name: string): string {
  return name.slice(0, name.lastIndexOf(":"));
}

function at(json: Json | undefined, key: string): Json | undefined {
  return isJsonObject(json) ? json.get(key) : undefined;
}

function commonLength(chain: readonly Json[], known: readonly (Digest | undefined)[]): number {
  const differs = known.findIndex((diffId, i) => chain[i] !== diffId);
  return differs === -1 ? known.length : differs;
}
