import type { Item } from "./data.js";
import { make } from "./dom.js";
import { counted, FATES, formatBytes, formatChance, formatCount, shortName } from "./format.js";
import { chainTo, reach } from "./graph.js";
import { type Selection, sizeOf, type View } from "./view.js";

const MOST_PATHS = 12;
const MOST_OF_GROUP = 60;

const EXPLAINED = {
  kept: "its layer is there already",
  again: "unchanged, but in a layer that is sent again",
  changed: "the previous image has another build of it",
  new: "the previous image has nothing of this name",
} as const;

/** Fills the panel beside the map. @param show pins a store path */
export function fillDetails(
  panel: HTMLElement,
  view: View,
  selection: Selection | undefined,
  show: (path: number) => void,
): void {
  const [first, ...others] = selection ?? [];
  if (first === undefined) {
    const hint =
      "Point at a tile, or move with the arrow keys, to see what it needs and what needs it. Press it to keep it here.";
    panel.replaceChildren(make("p", { class: "hint", text: hint }));
    return;
  }
  panel.replaceChildren(
    ...(others.length > 0 ? group(view, selection ?? [], show) : single(view, view.items[first] as Item, show)),
  );
}

function group(view: View, selection: Selection, show: (path: number) => void): Node[] {
  const layers = new Set(selection.map((index) => view.items[index]?.layer));
  const where = layers.size === 1 ? `layer ${([...layers][0] ?? 0) + 1}` : counted(layers.size, "small layer");
  const paths = selection.map((index) => (view.items[index] as Item).path);
  return [
    make("h3", { text: counted(selection.length, "smaller path") }),
    make("p", { class: "hint", text: `${formatBytes(sizeOf(view, selection))} in ${where}` }),
    pathList(view, paths, show, MOST_OF_GROUP),
  ];
}

function single(view: View, { path, layer, fate }: Item, show: (path: number) => void): Node[] {
  const { data, relations, roots } = view;
  const baseName = data.paths[path] ?? "";
  const { reason, items } = data.layers[layer] as View["data"]["layers"][number];
  const company = items.length === 1 ? "alone" : `with ${counted(items.length - 1, "other")}`;
  const facts: (readonly [string, string])[] = [
    ["Size", formatBytes(data.sizes[path] ?? null)],
    ["Layer", `${layer + 1} of ${data.layers.length}, ${company}: ${reason}`],
    ...(fate === undefined ? [] : [["Update", `${FATES[fate].words}: ${EXPLAINED[fate]}`] as const]),
    ["Changes", `in ${formatChance(data.chances[path] ?? 0)} of releases, as expected`],
  ];
  const chain = chainTo(path, roots, relations.neededBy);
  return [
    make("h3", { text: shortName(baseName) }),
    make("p", { class: "path", text: `${data.storeDir}/${baseName}` }),
    make("dl", {}, ...facts.flatMap(([term, value]) => [make("dt", { text: term }), make("dd", { text: value })])),
    ...related(view, "Needs", "needs", relations.needs, path, show),
    ...related(view, "Needed by", "needed-by", relations.neededBy, path, show),
    ...(chain.length > 2
      ? [make("h4", { text: "A shortest way from a root" }), pathList(view, chain, show, chain.length, "ol")]
      : []),
  ];
}

function related(
  view: View,
  title: string,
  mark: string,
  next: readonly (readonly number[])[],
  path: number,
  show: (path: number) => void,
): Node[] {
  const direct = next[path] ?? [];
  const all = reach(path, next).size;
  const heading = make("h4", {}, make("span", { class: `key ${mark}`, "aria-hidden": "true" }), title);
  if (direct.length === 0) return [heading, make("p", { class: "hint", text: "nothing" })];
  const count = all === direct.length ? formatCount(all) : `${formatCount(direct.length)}, ${formatCount(all)} in all`;
  heading.append(make("span", { class: "count", text: count }));
  const bySize = [...direct].sort((a, b) => (view.data.sizes[b] ?? 0) - (view.data.sizes[a] ?? 0) || a - b);
  return [heading, pathList(view, bySize, show, MOST_PATHS)];
}

function pathList(
  { data, itemOf }: View,
  paths: readonly number[],
  show: (path: number) => void,
  most: number,
  kind: "ul" | "ol" = "ul",
): HTMLElement {
  const list = make(kind, { class: "paths" });
  for (const path of paths.slice(0, most)) {
    const name = shortName(data.paths[path] ?? "");
    if (!itemOf.has(path)) {
      list.append(make("li", {}, make("span", { text: name }), make("span", { class: "hint", text: "excluded" })));
      continue;
    }
    const button = make("button", { type: "button", class: "link", text: name });
    button.addEventListener("click", () => show(path));
    list.append(make("li", {}, button, make("span", { class: "number", text: formatBytes(data.sizes[path] ?? null) })));
  }
  if (paths.length > most)
    list.append(make("li", { class: "hint", text: `and ${formatCount(paths.length - most)} more` }));
  return list;
}
