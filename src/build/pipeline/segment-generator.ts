import { EntryList } from "../../tar/entry-list.js";
import { type TarOptions, TarWriter } from "../../tar/writer.js";
import { optionsFor } from "../layer-profile.js";
import { Cell, claim, type ListedLayer, SEGMENT, SLOTS, segmentsOf, startedCell } from "./shared.js";

/** Generates the segments of archives into the shared slots, whichever the other threads left: each thread has one. */
export class SegmentGenerator {
  readonly #control: Int32Array;
  readonly #slots: Buffer;
  readonly #options: TarOptions;
  readonly #nextLayer: () => ListedLayer;
  #layer: ListedLayer | undefined;
  #writer: TarWriter | undefined;

  /** @param nextLayer gives the published layers in order; called for published ones only */
  constructor(
    shared: { readonly control: Int32Array; readonly slots: Buffer },
    options: TarOptions,
    nextLayer: () => ListedLayer,
  ) {
    this.#control = shared.control;
    this.#slots = shared.slots;
    this.#options = options;
    this.#nextLayer = nextLayer;
  }

  /**
   * Takes on the next segment that nobody has taken on and generates it; false where all published ones are taken on, or no slot is free.
   * @throws OciNixError as {@link TarWriter.fill}
   */
  generateNext(): boolean {
    const segment = claim(this.#control, Cell.claimed, (claimed) => this.#mayGenerate(claimed));
    if (segment === undefined) return false;
    this.#generate(segment);
    return true;
  }

  close(): void {
    this.#writer?.close();
    this.#writer = undefined;
  }

  #mayGenerate(claimed: number): boolean {
    const isPublished = claimed < Atomics.load(this.#control, Cell.publishedSegments);
    return isPublished && claimed - Atomics.load(this.#control, Cell.consumed) < SLOTS;
  }

  #generate(segment: number): void {
    while (this.#layer === undefined || segment >= this.#layer.firstSegment + segmentsOf(this.#layer.size)) {
      this.close();
      this.#layer = this.#nextLayer();
    }
    const { firstSegment, lists, size } = this.#layer;
    this.#writer ??= new TarWriter(EntryList.join(lists), optionsFor(this.#layer, this.#options));
    const writer = this.#writer;
    const slot = segment % SLOTS;
    const offset = (segment - firstSegment) * SEGMENT;
    writer.seek(offset);
    writer.started = 0;
    writer.fill(this.#slots, slot * SEGMENT, slot * SEGMENT + Math.min(SEGMENT, size - offset));
    Atomics.store(this.#control, startedCell(slot), writer.started);
    Atomics.store(this.#control, Cell.slots + slot, segment + 1);
    Atomics.notify(this.#control, Cell.slots + slot);
  }
}
