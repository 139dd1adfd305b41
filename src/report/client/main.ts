import type { Item, ItemFate, PageData } from "./data.js";
import { fillDetails } from "./details.js";
import { byId } from "./dom.js";
import { counted, formatBytes } from "./format.js";
import { PathTable } from "./table.js";
import { TreeMap } from "./treemap.js";
import { type Selection, sizeOf, type View, viewOf } from "./view.js";

/** Makes the page work. */
function main(): void {
  // What is of no use without a script.
  for (const element of document.querySelectorAll<HTMLElement>("[hidden]")) element.hidden = false;
  const view = viewOf(JSON.parse(byId("plan-data").textContent ?? "") as PageData);
  let pinned: Selection | undefined;
  let pointed: Selection | undefined;
  let shown: Selection | undefined;
  const details = byId("details");
  const map = new TreeMap(byId("map"), view, {
    onPoint: point,
    onPin: pin,
    onLeave(to) {
      // Whoever goes on to the panel wants to read what is in it.
      if (!(to instanceof Node && details.contains(to))) point(undefined);
    },
  });
  const table = new PathTable(byId("paths"), view, pin);

  function point(selection: Selection | undefined): void {
    pointed = selection;
    refresh();
  }

  function refresh(): void {
    const selection = pointed ?? pinned;
    if (selection === shown) return;
    shown = selection;
    map.light(selection);
    fillDetails(details, view, selection, (path) => {
      pointed = undefined;
      const index = view.itemOf.get(path);
      if (index === undefined) return;
      if (pinned?.[0] !== index || pinned.length > 1) pin([index]);
      // What was pressed is gone.
      details.focus({ preventScroll: true });
    });
  }

  function pin(selection: Selection | undefined): void {
    const isSame = selection !== undefined && selection[0] === pinned?.[0] && selection.length === pinned?.length;
    pinned = isSame ? undefined : selection;
    map.pin(pinned);
    table.pin(pinned);
    refresh();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || shown === undefined) return;
    pointed = undefined;
    pin(undefined);
  });
  connectFilters(view, map, table);
  connectTheme();
  fillDetails(details, view, undefined, () => undefined);
}

/** Search box and legend: what matches both is shown. */
function connectFilters(view: View, map: TreeMap, table: PathTable): void {
  const search = byId("search") as HTMLInputElement;
  const result = byId("result");
  const keys = [...document.querySelectorAll<HTMLButtonElement>("#legend button")];
  const wanted = new Set<ItemFate>();
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = ({ path, fate }: Item) =>
      (wanted.size === 0 || (fate !== undefined && wanted.has(fate))) &&
      words.every((word) => view.haystack[path]?.includes(word));
    const found = [...view.items.keys()].filter((index) => matches(view.items[index] as Item));
    const isAll = words.length === 0 && wanted.size === 0;
    map.filter(isAll ? undefined : new Set(found));
    table.filter(found);
    const count = isAll
      ? counted(found.length, "store path")
      : `${found.length} of ${counted(view.items.length, "store path")}`;
    result.textContent = `${count}, ${formatBytes(sizeOf(view, found))}`;
  };
  search.addEventListener("input", apply);
  for (const key of keys) {
    key.addEventListener("click", () => {
      const fate = key.dataset.fate as ItemFate;
      if (!wanted.delete(fate)) wanted.add(fate);
      key.setAttribute("aria-pressed", String(wanted.has(fate)));
      apply();
    });
  }
  apply();
}

/** The button that changes between light and dark; until it is pressed the system decides. */
function connectTheme(): void {
  const button = byId("theme");
  const root = document.documentElement;
  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  label();
}

main();
