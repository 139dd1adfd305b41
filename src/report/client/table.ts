import type { Item } from "./data.js";
import { make } from "./dom.js";
import { FATES, formatBytes, formatChance, formatCount, shortName } from "./format.js";
import { colourOf, type Selection, type View } from "./view.js";

interface Column {
  readonly title: string;
  readonly isNumber: boolean;
  /** What rows are sorted by; numbers are sorted largest first at first. */
  key(view: View, item: Item): number | string;
  show(view: View, item: Item): string;
}

const COLUMNS: readonly Column[] = [
  {
    title: "Name",
    isNumber: false,
    key: ({ data }, { path }) => shortName(data.paths[path] ?? ""),
    show: ({ data }, { path }) => shortName(data.paths[path] ?? ""),
  },
  {
    title: "Size",
    isNumber: true,
    key: ({ data }, { path }) => data.sizes[path] ?? -1,
    show: ({ data }, { path }) => formatBytes(data.sizes[path] ?? null),
  },
  { title: "Layer", isNumber: true, key: (_, { layer }) => layer, show: (_, { layer }) => String(layer + 1) },
  {
    title: "Update",
    isNumber: false,
    key: (_, { fate }) => (fate === undefined ? 0 : Object.keys(FATES).indexOf(fate)),
    show: (_, { fate }) => (fate === undefined ? "" : FATES[fate].words),
  },
  {
    title: "Changes",
    isNumber: true,
    key: ({ data }, { path }) => data.chances[path] ?? 0,
    show: ({ data }, { path }) => formatChance(data.chances[path] ?? 0),
  },
  {
    title: "Needs",
    isNumber: true,
    key: ({ relations }, { path }) => relations.needs[path]?.length ?? 0,
    show: ({ relations }, { path }) => formatCount(relations.needs[path]?.length ?? 0),
  },
  {
    title: "Needed by",
    isNumber: true,
    key: ({ relations }, { path }) => relations.neededBy[path]?.length ?? 0,
    show: ({ relations }, { path }) => formatCount(relations.neededBy[path]?.length ?? 0),
  },
];

const ROWS_AT_ONCE = 100;

/** All store paths that match, sorted by a column; a hundred at first. */
export class PathTable {
  readonly #view: View;
  readonly #columns: readonly Column[];
  readonly #body: HTMLTableSectionElement;
  readonly #headings: readonly HTMLTableCellElement[];
  readonly #more: HTMLButtonElement;
  readonly #onPin: (selection: Selection) => void;
  #matching: readonly number[];
  #sort = { column: 1, isDescending: true };
  #limit = ROWS_AT_ONCE;
  #pinned: ReadonlySet<number> = new Set();

  constructor(container: HTMLElement, view: View, onPin: (selection: Selection) => void) {
    this.#view = view;
    this.#onPin = onPin;
    this.#columns = COLUMNS.filter(({ title }) => view.data.hasPrevious || title !== "Update");
    this.#matching = [...view.items.keys()];
    this.#body = make("tbody");
    this.#headings = this.#columns.map(({ title, isNumber }, column) => {
      const button = make("button", { type: "button", text: title });
      button.addEventListener("click", () => this.#sortBy(column));
      return make("th", { scope: "col", ...(isNumber ? { class: "number" } : {}) }, button);
    });
    const caption = make("caption", { class: "unseen", text: "Store paths; the buttons in the heading sort them" });
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...this.#headings)), this.#body);
    this.#more = make("button", { type: "button", class: "plain" });
    this.#more.addEventListener("click", () => {
      const before = this.#body.rows.length;
      this.#limit = this.#limit === ROWS_AT_ONCE ? 10 * ROWS_AT_ONCE : Number.POSITIVE_INFINITY;
      this.#draw();
      // The button may be gone: reading goes on with the first new row.
      this.#body.rows[before]?.querySelector("button")?.focus();
    });
    container.replaceChildren(make("div", { class: "scroll" }, table), this.#more);
    this.#draw();
  }

  filter(matching: readonly number[]): void {
    this.#matching = matching;
    this.#limit = ROWS_AT_ONCE;
    this.#draw();
  }

  pin(selection: Selection | undefined): void {
    this.#pinned = new Set(selection);
    for (const row of this.#body.rows) this.#mark(row);
  }

  #sortBy(column: number): void {
    const isSame = this.#sort.column === column;
    const isNumber = this.#columns[column]?.isNumber === true;
    this.#sort = { column, isDescending: isSame ? !this.#sort.isDescending : isNumber };
    this.#draw();
  }

  #draw(): void {
    const { column, isDescending } = this.#sort;
    const { key } = this.#columns[column] as Column;
    const keys = new Map(this.#matching.map((index) => [index, key(this.#view, this.#view.items[index] as Item)]));
    const order = [...this.#matching].sort((a, b) => {
      const [first, second] = [keys.get(a) ?? 0, keys.get(b) ?? 0];
      if (first === second) return a - b;
      return first < second === isDescending ? 1 : -1;
    });
    for (const [i, heading] of this.#headings.entries()) {
      if (i === column) heading.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
    this.#body.replaceChildren(...order.slice(0, this.#limit).map((index) => this.#row(index)));
    const left = order.length - this.#body.rows.length;
    const next = this.#limit === ROWS_AT_ONCE ? Math.min(left, 9 * ROWS_AT_ONCE) : left;
    this.#more.hidden = left <= 0;
    this.#more.textContent =
      next === left ? `Show the other ${formatCount(left)}` : `Show ${formatCount(next)} more of ${formatCount(left)}`;
  }

  #row(index: number): HTMLTableRowElement {
    const item = this.#view.items[index] as Item;
    const row = make("tr", { "data-item": String(index) });
    for (const [i, { isNumber, title, show }] of this.#columns.entries()) {
      const text = show(this.#view, item);
      if (i === 0) {
        const button = make("button", { type: "button", class: "link", text });
        button.addEventListener("click", () => this.#onPin([index]));
        const swatch = make("span", { class: `swatch ${colourOf(this.#view, index)}`, "aria-hidden": "true" });
        row.append(make("th", { scope: "row" }, swatch, button));
      } else {
        row.append(make("td", { ...(isNumber ? { class: "number" } : {}), "data-title": title, text }));
      }
    }
    this.#mark(row);
    return row;
  }

  #mark(row: HTMLTableRowElement): void {
    row.classList.toggle("pinned", this.#pinned.has(Number(row.dataset.item)));
  }
}
