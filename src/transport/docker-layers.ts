import type { Digest } from "../core/digest.js";
import { isJsonObject, type Json } from "../core/json.js";
import type { DockerEngine } from "./docker-engine.js";
import type { FinishedImage } from "./image.js";

/** Of a daemon's images only so many are looked at, the newest first: each is a request. */
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
  #isContainerd: boolean | undefined;

  constructor(engine: DockerEngine) {
    this.#engine = engine;
  }

  /** How many of the lowest layers may be left out. What the daemon does not tell, it does not have. */
  async countHeld(diffIds: readonly (Digest | undefined)[]): Promise<number> {
    const end = diffIds.indexOf(undefined);
    const known = end === -1 ? diffIds : diffIds.slice(0, end);
    if (known.length === 0 || this.#engine.isPodman) return 0;
    if ((await this.#hasContainerdStore()) && !this.#engine.isSince(CONTAINERD_SINCE)) return 0;
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
    if (!this.#isContainerd) return true;
    const { json } = await this.#engine.get(`/images/${name}/json?manifests=1`);
    const manifests = at(json, "Manifests");
    return (
      Array.isArray(manifests) &&
      manifests.some((entry: Json) => at(entry, "ID") === manifest.digest && at(entry, "Available") === true)
    );
  }

  async #hasContainerdStore(): Promise<boolean> {
    if (this.#isContainerd === undefined) {
      const status = at((await this.#engine.get("/info")).json, "DriverStatus");
      this.#isContainerd =
        Array.isArray(status) && status.some((pair: Json) => Array.isArray(pair) && pair[1] === CONTAINERD);
    }
    return this.#isContainerd;
  }

  async #imageIds(): Promise<readonly string[]> {
    const { json } = await this.#engine.get("/images/json");
    if (!Array.isArray(json)) return [];
    const ids = json.map((image: Json) => at(image, "Id"));
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

function at(json: Json | undefined, key: string): Json | undefined {
  return isJsonObject(json) ? json.get(key) : undefined;
}

function commonLength(chain: readonly Json[], known: readonly (Digest | undefined)[]): number {
  const differs = known.findIndex((diffId, i) => chain[i] !== diffId);
  return differs === -1 ? known.length : differs;
}
