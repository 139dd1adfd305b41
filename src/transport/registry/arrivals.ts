import type { Digest } from "../../core/digest.js";
import type { Descriptor } from "../../oci/manifest.js";
import { deferred } from "./deferred.js";

/** Blobs that a repository has, and those on their way to it. */
export class Arrivals {
  readonly #there = new Set<Digest>();
  readonly #coming = new Set<Digest>();
  readonly #lost: Descriptor[] = [];
  readonly #end = deferred<false>();
  readonly #waiting = new Map<Digest, ((isThere: boolean) => void)[]>();

  /** How many are there. */
  get count(): number {
    return this.#there.size;
  }

  /** Whether the blob is there or on its way. */
  has(digest: Digest): boolean {
    return this.#there.has(digest) || this.#coming.has(digest);
  }

  coming(digest: Digest): void {
    this.#coming.add(digest);
  }

  arrived(digest: Digest): void {
    this.#there.add(digest);
    this.#tell(digest, true);
  }

  /** The blob did not arrive, and is to be written again. */
  lost(blob: Descriptor): void {
    this.#coming.delete(blob.digest);
    this.#lost.push(blob);
    this.#tell(blob.digest, false);
  }

  /** Those that got lost, each once. */
  takeLost(): readonly Descriptor[] {
    return this.#lost.splice(0);
  }

  /** Waits for a blob on its way to another repository. @returns false where it does not arrive, or nothing more arrives here */
  async at(other: Arrivals, digest: Digest): Promise<boolean> {
    return await Promise.race([other.#awaited(digest), this.#end.promise]);
  }

  /** Nothing more will arrive. */
  end(): void {
    this.#end.resolve(false);
    this.#coming.clear();
    for (const digest of [...this.#waiting.keys()]) this.#tell(digest, false);
  }

  async #awaited(digest: Digest): Promise<boolean> {
    if (this.#there.has(digest) || !this.#coming.has(digest)) return this.#there.has(digest);
    return await new Promise((resolve) => {
      this.#waiting.set(digest, [...(this.#waiting.get(digest) ?? []), resolve]);
    });
  }

  #tell(digest: Digest, isThere: boolean): void {
    const waiting = this.#waiting.get(digest) ?? [];
    this.#waiting.delete(digest);
    for (const resolve of waiting) resolve(isThere);
  }
}
