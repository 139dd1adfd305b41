import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeStore, type TreeVectorEntry } from "./vectors.js";

/** `{"etc/": "", "etc/a": "text", "b": {to: "a"}}`: directories 0555 and files 0444, as in a store, or `[text, mode]`. */
export type Tree = Readonly<
  Record<string, string | { readonly to: string } | readonly [contents: string, mode: number]>
>;

function entriesOf(tree: Tree): TreeVectorEntry[] {
  const root: TreeVectorEntry = { path: "", type: "directory", mode: 0o555 };
  return [
    root,
    ...Object.entries(tree).map(([name, what]): TreeVectorEntry => {
      if (typeof what === "object" && "to" in what) return { path: name, type: "symlink", target: what.to };
      const [text, mode] = typeof what === "string" ? [what, name.endsWith("/") ? 0o555 : 0o444] : what;
      if (name.endsWith("/")) return { path: name.slice(0, -1), type: "directory", mode };
      return { path: name, type: "file", text, mode };
    }),
  ];
}

/** A temporary store, for a spec's `closure`, and a graph of it; references by path. */
export function makeTreeStore(
  trees: Readonly<Record<string, Tree | readonly TreeVectorEntry[]>>,
  references: Readonly<Record<string, readonly string[]>> = {},
): { readonly closure: { readonly graph: string; readonly storeRoot: string }; readonly remove: () => void } {
  const store = makeStore(
    Object.fromEntries(
      Object.entries(trees).map(([name, tree]) => [name, Array.isArray(tree) ? tree : entriesOf(tree as Tree)]),
    ),
  );
  const graph = join(store.root, "graph.json");
  writeFileSync(
    graph,
    JSON.stringify(Object.keys(trees).map((name) => ({ path: name, references: references[name] ?? [] }))),
  );
  return { closure: { graph, storeRoot: store.root }, remove: store.remove };
}
