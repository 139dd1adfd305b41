import { entriesSize, type TarOptions } from "../../tar/writer.js";
import { type FileTreeOptions, partEntries, type SettledPlan } from "../file-tree.js";
import { optionsFor } from "../layer-profile.js";
import { LayerDigester } from "./layer-digester.js";
import { SegmentGenerator } from "./segment-generator.js";
import {
  Cell,
  claim,
  type ListedLayer,
  listKiB,
  MAX_LISTS_KIB,
  type Report,
  type Shared,
  SLOTS,
  type Unit,
  unitsOf,
  type Work,
} from "./shared.js";

/** All that is to be done, of which each thread takes on whatever comes next. */
export class Tasks {
  readonly #control: Int32Array;
  readonly #inTurn: readonly SettledPlan[];
  readonly #options: FileTreeOptions & TarOptions;
  readonly #report: (report: Report) => void;
  readonly #units: readonly Unit[];
  readonly #generator: SegmentGenerator;
  readonly #digester: LayerDigester;

  /** @param nextLayer gives the published layers in order; called for published ones only */
  constructor(
    shared: Shared,
    { inTurn, apart }: Work,
    options: FileTreeOptions & TarOptions,
    nextLayer: () => ListedLayer,
    report: (report: Report) => void,
  ) {
    this.#control = shared.control;
    this.#inTurn = inTurn;
    this.#options = options;
    this.#report = report;
    this.#units = unitsOf(inTurn, options);
    this.#generator = new SegmentGenerator(shared, options, nextLayer);
    this.#digester = new LayerDigester(shared.control, apart, options, (index, digest) =>
      report({ kind: "digested", index, digest }),
    );
  }

  /** Does one of them, or a step of one; false where there is nothing to be done now. @throws OciNixError of files that cannot be read */
  step(): boolean | Promise<boolean> {
    // Little left to generate: list first, lest everybody runs dry at the end of a layer.
    const runsDry = this.#load(Cell.publishedSegments) - this.#load(Cell.claimed) < SLOTS;
    const urgent = runsDry ? this.#claimUnit() : undefined;
    if (urgent === undefined && this.#generator.generateNext()) return true;
    const unit = urgent ?? this.#claimUnit();
    return unit === undefined ? this.#digester.step() : this.#list(unit);
  }

  /** Does one that takes well under a millisecond, or false. */
  shortStep(): boolean {
    return this.#generator.generateNext();
  }

  /** Nothing will be left to do when the tasks that are being done are done. */
  get areTakenOn(): boolean {
    return (
      this.#load(Cell.publishedLayers) === this.#inTurn.length &&
      this.#load(Cell.claimed) === this.#load(Cell.publishedSegments)
    );
  }

  close(): void {
    this.#generator.close();
    this.#digester.close();
  }

  #load(cell: number): number {
    return Atomics.load(this.#control, cell);
  }

  #claimUnit(): Unit | undefined {
    // Lists are freed by writing only: with nothing to write, listing goes on whatever there is already.
    const isFull =
      this.#load(Cell.listsKiB) >= MAX_LISTS_KIB && this.#load(Cell.publishedSegments) > this.#load(Cell.consumed);
    if (isFull) return undefined;
    const index = claim(this.#control, Cell.listing, (claimed) => claimed < this.#units.length);
    return index === undefined ? undefined : this.#units[index];
  }

  async #list(unit: Unit): Promise<boolean> {
    const plan = this.#inTurn[unit.layer] as SettledPlan;
    const entries = await partEntries(plan, unit.part, this.#options);
    const list = entries.parts;
    Atomics.add(this.#control, Cell.listsKiB, listKiB(list));
    this.#report({
      kind: "listed",
      layer: unit.layer,
      part: unit.index,
      list,
      size: entriesSize(entries, optionsFor(plan, this.#options)),
    });
    return true;
  }
}
