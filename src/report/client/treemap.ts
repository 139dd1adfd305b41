import type { LayerData } from "./data.js";
import { make } from "./dom.js";
import { counted, FATES, formatBytes, formatCount, shortName } from "./format.js";
import { reach } from "./graph.js";
import { type Frame, layOut, type Tile } from "./layout.js";
import type { Rect } from "./squarify.js";
import { blend, colourOf, describe, type Selection, sizeOf, type View } from "./view.js";

interface MapListener {
  /** Something is pointed at, or nothing any more. */
  onPoint(selection: Selection | undefined): void;
  onPin(selection: Selection): void;
  /** The focus goes from the map to something else, or to nothing. */
  onLeave(to: EventTarget | null): void;
}

interface Shown {
  readonly tile: Tile;
  readonly button: HTMLButtonElement;
}

/** Keys and the directions they move to. */
const DIRECTIONS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The map: tiles that are buttons, one of which is in the tab order. */
export class TreeMap {
  readonly #container: HTMLElement;
  readonly #view: View;
  #shown: readonly Shown[] = [];
  /** Of the tile in the tab order. */
  #current = 0;
  #size = "";
  #matching: ReadonlySet<number> | undefined;
  #lit: Selection | undefined;
  #pinned: Selection | undefined;

  constructor(container: HTMLElement, view: View, listener: MapListener) {
    this.#container = container;
    this.#view = view;
    container.addEventListener("keydown", (event) => this.#onKey(event));
    container.addEventListener("pointerover", (event) => listener.onPoint(this.#at(event.target)?.tile.items));
    container.addEventListener("pointerleave", () => listener.onPoint(undefined));
    container.addEventListener("focusin", (event) => {
      const shown = this.#at(event.target);
      if (shown === undefined) return;
      this.#setCurrent(this.#shown.indexOf(shown));
      listener.onPoint(shown.tile.items);
    });
    container.addEventListener("focusout", ({ relatedTarget }) => listener.onLeave(relatedTarget));
    container.addEventListener("click", (event) => {
      const shown = this.#at(event.target);
      if (shown !== undefined) listener.onPin(shown.tile.items);
    });
    new ResizeObserver(() => this.draw()).observe(container);
    this.draw();
  }

  /** Lays the map out anew where its size changed. */
  draw(): void {
    const { clientWidth: width, clientHeight: height } = this.#container;
    const size = `${width} ${height}`;
    if (width === 0 || height === 0 || size === this.#size) return;
    this.#size = size;
    const hadFocus = this.#container.contains(document.activeElement);
    const current = this.#shown[this.#current]?.tile.items[0];
    const { frames, tiles } = layOut(this.#view.data, this.#view.items, width, height);
    const place = (element: HTMLElement, { x, y, width: w, height: h }: Rect) => {
      // In per cent, so that a printed page keeps the proportions.
      element.style.left = `${(x / width) * 100}%`;
      element.style.top = `${(y / height) * 100}%`;
      element.style.width = `${(w / width) * 100}%`;
      element.style.height = `${(h / height) * 100}%`;
    };
    const fragment = document.createDocumentFragment();
    for (const frame of frames) {
      const element = this.#frame(frame);
      place(element, frame.rect);
      fragment.append(element);
    }
    this.#shown = tiles.map((tile, index) => {
      const button = this.#button(tile, String(index));
      place(button, tile.rect);
      fragment.append(button);
      return { tile, button };
    });
    this.#container.replaceChildren(fragment);
    const again = this.#shown.findIndex(({ tile }) => current !== undefined && tile.items.includes(current));
    this.#setCurrent(Math.max(again, 0));
    if (hadFocus) this.#shown[this.#current]?.button.focus({ preventScroll: true });
    this.#mark();
  }

  /** Dims what does not match; undefined where all does. */
  filter(matching: ReadonlySet<number> | undefined): void {
    this.#matching = matching;
    this.#mark();
  }

  /** Shows what these need and what needs them. */
  light(selection: Selection | undefined): void {
    this.#lit = selection;
    this.#mark();
  }

  pin(selection: Selection | undefined): void {
    this.#pinned = selection;
    const [first] = selection ?? [];
    const index = first === undefined ? -1 : this.#shown.findIndex(({ tile }) => tile.items.includes(first));
    if (index >= 0) this.#setCurrent(index);
    this.#mark();
  }

  #at(target: EventTarget | null): Shown | undefined {
    const button = target instanceof Element ? target.closest("button") : null;
    return button === null ? undefined : this.#shown[Number(button.dataset.tile)];
  }

  #frame({ layer = 0, heading }: Frame): HTMLElement {
    const { size, items, isKept } = this.#view.data.layers[layer] as LayerData;
    const fate = isKept === undefined ? "" : ` · ${isKept ? "kept" : "uploaded"}`;
    const text = `Layer ${layer + 1}${fate} · ${formatBytes(size)} · ${counted(items.length, "path")}`;
    return make("div", { class: "frame", "aria-hidden": "true" }, ...(heading > 0 ? [make("span", { text })] : []));
  }

  #button(tile: Tile, index: string): HTMLButtonElement {
    const [first = 0] = tile.items;
    const { width, height } = tile.rect;
    const isRoomy = width >= 60 && height >= 18;
    if (tile.items.length > 1) {
      const where = tile.layer === undefined ? "of small layers" : `of layer ${tile.layer + 1}`;
      const size = formatBytes(sizeOf(this.#view, tile.items));
      const label = `${counted(tile.items.length, "smaller path")} ${where}, ${size} in all`;
      const button = make("button", {
        class: "tile many",
        "aria-label": label,
        type: "button",
        tabindex: "-1",
        "data-tile": index,
      });
      button.style.background = blend(this.#view, tile.items);
      const count = `+${formatCount(tile.items.length)}`;
      if (width >= 9 * count.length + 6 && height >= 18) button.append(make("span", { class: "name", text: count }));
      return button;
    }
    const { path, fate } = this.#view.items[first] as View["items"][number];
    const button = make("button", {
      class: `tile ${colourOf(this.#view, first)}`,
      type: "button",
      tabindex: "-1",
      "data-tile": index,
      "aria-label": describe(this.#view, first),
    });
    if (isRoomy) {
      const sign = fate === undefined || fate === "kept" ? "" : `${FATES[fate].sign} `;
      button.append(make("span", { class: "name", text: sign + shortName(this.#view.data.paths[path] ?? "") }));
      const size = formatBytes(this.#view.data.sizes[path] ?? null);
      const isAlone = tile.layer !== undefined && this.#view.data.layers[tile.layer]?.items.length === 1;
      const more = isAlone && width >= 132 ? `${size} · layer ${(tile.layer ?? 0) + 1}` : size;
      if (height >= 36 && width >= 70) button.append(make("span", { class: "size", text: more }));
    }
    return button;
  }

  #setCurrent(index: number): void {
    const before = this.#shown[this.#current];
    if (before !== undefined) before.button.tabIndex = -1;
    this.#current = index;
    const now = this.#shown[index];
    if (now !== undefined) now.button.tabIndex = 0;
  }

  #mark(): void {
    const { items, relations } = this.#view;
    const [only, ...more] = this.#lit ?? [];
    const path = only === undefined || more.length > 0 ? undefined : items[only]?.path;
    const needs = path === undefined ? undefined : reach(path, relations.needs);
    const neededBy = path === undefined ? undefined : reach(path, relations.neededBy);
    const lit = new Set(this.#lit);
    const pinned = new Set(this.#pinned);
    const has = (tile: Tile, paths: ReadonlySet<number> | undefined) =>
      paths !== undefined && tile.items.some((index) => paths.has(items[index]?.path ?? -1));
    this.#container.classList.toggle("relating", path !== undefined);
    this.#container.classList.toggle("filtering", this.#matching !== undefined);
    for (const { tile, button } of this.#shown) {
      const matches = this.#matching;
      button.classList.toggle(
        "lit",
        tile.items.some((index) => lit.has(index)),
      );
      button.classList.toggle("needs", has(tile, needs));
      button.classList.toggle("needed-by", has(tile, neededBy));
      button.classList.toggle("match", matches !== undefined && tile.items.some((index) => matches.has(index)));
      button.setAttribute("aria-pressed", String(tile.items.some((index) => pinned.has(index))));
    }
  }

  #onKey(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const to = this.#target(event.key);
    if (to === undefined) return;
    event.preventDefault();
    this.#shown[to]?.button.focus();
  }

  /** The tile that a key leads to. */
  #target(key: string): number | undefined {
    if (key === "Home") return 0;
    if (key === "End") return this.#shown.length - 1;
    if (key === "PageDown" || key === "PageUp") return this.#otherLayer(key === "PageDown" ? 1 : -1);
    const direction = DIRECTIONS[key];
    const from = this.#shown[this.#current];
    if (direction === undefined || from === undefined) return undefined;
    const [dx, dy] = direction;
    let best = this.#current;
    let nearest = Number.POSITIVE_INFINITY;
    for (const [index, { tile }] of this.#shown.entries()) {
      const [ahead, aside] = distances(from.tile.rect, tile.rect, dx, dy);
      if (index === this.#current || ahead < 0) continue;
      const distance = ahead + 2 * aside;
      if (distance < nearest) {
        nearest = distance;
        best = index;
      }
    }
    return best;
  }

  #otherLayer(step: 1 | -1): number {
    const layerAt = (index: number) => this.#shown[index]?.tile.layer;
    let index = this.#current;
    while (index + step >= 0 && index + step < this.#shown.length) {
      index += step;
      if (layerAt(index) !== layerAt(this.#current)) break;
    }
    return index;
  }
}

/** How far one rectangle lies from another in a direction, below zero where it does not, and beside it. */
function distances(from: Rect, to: Rect, dx: number, dy: number): readonly [number, number] {
  const right = to.x - (from.x + from.width);
  const left = from.x - (to.x + to.width);
  const below = to.y - (from.y + from.height);
  const above = from.y - (to.y + to.height);
  // Neighbours may overlap by a rounding error.
  const ahead = (dx > 0 ? right : dx < 0 ? left : dy > 0 ? below : above) + 1;
  const centre = dx === 0 ? from.x + from.width / 2 : from.y + from.height / 2;
  const [start, length] = dx === 0 ? [to.x, to.width] : [to.y, to.height];
  return [ahead, Math.max(start - centre, centre - start - length, 0)];
}
