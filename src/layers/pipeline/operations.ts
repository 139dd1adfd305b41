import { nearest, OciNixError } from "../../core/errors.js";
import { shortened } from "../../core/json.js";
import type { StorePath } from "../../nix/store-path.js";
import { topologicalOrder } from "../graph.js";
import { popularityOrder } from "../strategies/popularity.js";
import { cut, filter, nodesOf, type PathGraph, pick, reach, rootsOf, union } from "./graph.js";
import type { Operation } from "./parse.js";

/** What goes from one operation to the next: a graph, a list, or what a split gave, by name and in order. */
export type Value = PathGraph | readonly Value[] | Parts;

type Parts = ReadonlyMap<string, Value>;

/**
 * Applies one operation. Nothing is changed; no path comes out twice.
 * @throws OciNixError `invalid-input` where the operation does not take such a value, or `over` finds no such key
 */
export function apply(operation: Operation, value: Value): Value {
  const { at, name } = operation;
  switch (name) {
    case "subcomponent_in":
      return subcomponent(graphAt(value, at, name), operation.paths, "in");
    case "subcomponent_out":
      return subcomponent(graphAt(value, at, name), operation.paths, "out");
    case "split_paths":
      if (operation.paths.size + operation.childrenOf.size === 0) return new Map([["rest", value]]);
      return splitPaths(graphAt(value, at, name), operation);
    case "popularity_contest":
      return isList(value) && value.length === 0 ? [] : byPopularity(graphAt(value, at, name));
    case "split_every":
      return splitEvery(graphAt(value, at, name), operation.count);
    case "remove_paths":
      return operation.paths.size === 0 ? value : removePaths(graphAt(value, at, name), operation.paths);
    case "limit_layers":
      return limitLayers(listAt(value, at, name), operation.count, at);
    case "reverse":
      return [...listAt(value, at, name)].reverse();
    case "flatten":
      if (isGraph(value)) throw wrongValue(value, at, name, "a list, or what a split gave");
      return flatten(value);
    case "reorder":
      return isParts(value) ? reorder(value, operation.keys) : value;
    case "over":
      return over(value, operation.key, operation);
    case "map":
      return listAt(value, at, name).map((item) => apply(operation.operation, item));
    case "pipe":
      return applyAll(operation.operations, value);
  }
}

/** Applies operations one after the other. @throws OciNixError as {@link apply} */
export function applyAll(operations: readonly Operation[], value: Value): Value {
  return operations.reduce((current, operation) => apply(operation, current), value);
}

export function isGraph(value: Value): value is PathGraph {
  return !isList(value) && !isParts(value);
}

/** The graphs of a list or of what a split gave, however deep, in order. */
export function flatten(value: Value): PathGraph[] {
  if (isGraph(value)) return [value];
  return [...value.values()].flatMap(flatten);
}

function subcomponent(graph: PathGraph, paths: ReadonlySet<string>, mode: "in" | "out"): Parts {
  const main = reach(graph, nodesOf(graph, paths), mode);
  return new Map([
    ["main", filter(graph, (node) => main.has(node))],
    ["rest", filter(graph, (node) => !main.has(node))],
  ]);
}

/**
 * `main`: what is split off and all that only it needs. `common`: what it needs and others, too. `rest`: the others. Empty ones are
 * left out. References to what was split off are gone from the result, so that it does not count for what is done next.
 */
function splitPaths(graph: PathGraph, { paths, childrenOf }: Extract<Operation, { name: "split_paths" }>): Parts {
  const children = nodesOf(graph, childrenOf).flatMap((node) => graph.references[node] as readonly number[]);
  const targets = new Set([...nodesOf(graph, paths), ...children]);
  if (targets.size === 0) return new Map([["rest", graph]]);
  const roots = rootsOf(graph);
  const [root] = roots;
  if (roots.length === 1 && targets.has(root as number)) return new Map([["main", graph]]);
  const needed = reach(graph, targets, "out");
  const left = cut(graph, targets);
  const others = reach(
    left,
    roots.filter((node) => !targets.has(node)),
    "out",
  );
  const parts: readonly (readonly [string, PathGraph])[] = [
    ["main", filter(left, (node) => needed.has(node) && !others.has(node))],
    ["common", filter(left, (node) => needed.has(node) && others.has(node))],
    ["rest", filter(left, (node) => !needed.has(node) && others.has(node))],
  ];
  return new Map(parts.filter(([, part]) => part.paths.length > 0));
}

function byPopularity(graph: PathGraph): PathGraph[] {
  const order = popularityOrder({ ...graph, topological: topologicalOrder(graph.references) });
  return order.map((path: StorePath) => ({ paths: [path], references: [[]] }));
}

function splitEvery(graph: PathGraph, count: number): PathGraph[] {
  const nodes = graph.paths.map((_, node) => node);
  const parts: PathGraph[] = [];
  for (let start = 0; start < nodes.length; start += count) parts.push(pick(graph, nodes.slice(start, start + count)));
  return parts;
}

function removePaths(graph: PathGraph, paths: ReadonlySet<string>): PathGraph {
  return filter(graph, (node) => !paths.has(graph.paths[node] as string));
}

/** The first `count` − 1 as they are, all others as one graph, which may be empty. */
function limitLayers(values: readonly Value[], count: number, at: string): readonly Value[] {
  const merged = values.slice(count - 1).flatMap((value) => {
    if (isGraph(value)) return [value];
    if (isList(value) && value.every(isGraph)) return value;
    throw wrongValue(value, at, "limit_layers", "a list of graphs", 'flatten it first: ["flatten"]');
  });
  return [...values.slice(0, count - 1), union(merged)];
}

function reorder(parts: Parts, keys: readonly string[]): Parts {
  const first = keys.flatMap((key): [string, Value][] => {
    const part = parts.get(key);
    return part === undefined ? [] : [[key, part]];
  });
  return new Map([...first, ...[...parts].filter(([key]) => !keys.includes(key))]);
}

function over(value: Value, key: string, { at, operation }: Extract<Operation, { name: "over" }>): Parts {
  if (!isParts(value))
    throw wrongValue(value, at, "over", "what a split gave, such as subcomponent_out's main and rest");
  const part = value.get(key);
  if (part !== undefined) return new Map([...value, [key, apply(operation, part)]]);
  const known = [...value.keys()];
  const near = nearest(shortened(key), known);
  throw new OciNixError(
    "invalid-input",
    `${at}: there is no ${JSON.stringify(shortened(key))} here, only ${known.join(", ")}`,
    {
      hint: near === undefined ? "split_paths leaves out what is empty" : `did you mean ${near}?`,
    },
  );
}

function graphAt(value: Value, at: string, name: string): PathGraph {
  if (isGraph(value)) return value;
  const hint = isParts(value) ? `["over", "rest", ["${name}", …]]` : `["map", ["${name}", …]]`;
  throw wrongValue(value, at, name, "a graph", `apply it to a part: ${hint}`);
}

function listAt(value: Value, at: string, name: string): readonly Value[] {
  if (isList(value)) return value;
  throw wrongValue(value, at, name, "a list", isParts(value) ? 'make it one first: ["flatten"]' : undefined);
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

function isParts(value: Value): value is Parts {
  return value instanceof Map;
}

function wrongValue(value: Value, at: string, name: string, expected: string, hint?: string): OciNixError {
  const found = isGraph(value) ? "a graph" : isParts(value) ? [...value.keys()].join(", ") : "a list";
  return new OciNixError(
    "invalid-input",
    `${at}: ${name} takes ${expected}, not ${found}`,
    hint === undefined ? {} : { hint },
  );
}
