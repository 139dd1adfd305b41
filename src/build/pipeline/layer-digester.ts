import { createHash, type Hash } from "node:crypto";
import { archiveSize, entriesSize, type TarOptions, TarWriter } from "../../tar/writer.js";
import { type FileTreeOptions, layerEntries, type SettledPlan } from "../file-tree.js";
import { optionsFor } from "../layer-profile.js";
import { Cell, claim, type LayerDigest, SEGMENT } from "./shared.js";

interface Current {
  readonly index: number;
  readonly writer: TarWriter;
  readonly hash: Hash;
  readonly size: number;
  /** Bytes not hashed yet. */
  left: number;
}

/** Hashes whole layers, each in one thread from its files to its digest, a segment at a time between its thread's other work. */
export class LayerDigester {
  readonly #control: Int32Array;
  readonly #plans: readonly SettledPlan[];
  readonly #options: FileTreeOptions & TarOptions;
  readonly #onDigest: (index: number, digest: LayerDigest) => void;
  #buffer: Buffer | undefined;
  #current: Current | undefined;

  /** @param plans the layers, which all threads take on in this order */
  constructor(
    control: Int32Array,
    plans: readonly SettledPlan[],
    options: FileTreeOptions & TarOptions,
    onDigest: (index: number, digest: LayerDigest) => void,
  ) {
    this.#control = control;
    this.#plans = plans;
    this.#options = options;
    this.#onDigest = onDigest;
  }

  /** Does some work: lists the files of the next layer, or hashes a segment. False where every layer is taken on and this one's are done. */
  step(): boolean | Promise<boolean> {
    if (this.#current !== undefined) return this.#hashSegment(this.#current);
    const index = claim(this.#control, Cell.digesting, (claimed) => claimed < this.#plans.length);
    return index === undefined ? false : this.#begin(index);
  }

  close(): void {
    this.#current?.writer.close();
    this.#current = undefined;
  }

  async #begin(index: number): Promise<boolean> {
    const plan = this.#plans[index] as SettledPlan;
    const options = optionsFor(plan, this.#options);
    const entries = await layerEntries(plan, options);
    const size = archiveSize(entriesSize(entries, options), options);
    const writer = new TarWriter(entries, options);
    this.#current = { index, writer, hash: createHash("sha256"), left: size, size };
    return true;
  }

  #hashSegment(current: Current): boolean {
    this.#buffer ??= Buffer.allocUnsafeSlow(SEGMENT);
    const count = Math.min(SEGMENT, current.left);
    current.writer.fill(this.#buffer, 0, count);
    current.hash.update(count === SEGMENT ? this.#buffer : this.#buffer.subarray(0, count));
    current.left -= count;
    if (current.left === 0) {
      this.close();
      this.#onDigest(current.index, { diffId: `sha256:${current.hash.digest("hex")}`, size: current.size });
    }
    return true;
  }
}
