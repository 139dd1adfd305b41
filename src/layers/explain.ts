import { compareStrings, OciNixError } from "../core/errors.js";
import type { Closure } from "../nix/closure.js";
import { baseNameOf, type StorePath } from "../nix/store-path.js";
import type { CostModel } from "./cost-model.js";
import { nameOf, packageNameOf } from "./package-name.js";
import { type LayerPlan, storePathsOf } from "./plan.js";

/** Why a store path is in an image, and why in that layer of it. */
export interface PathExplanation {
  readonly storePath: StorePath;
  readonly narSize: number | undefined;
  /** Chance 0..1 that a release changes it. */
  readonly chanceOfChange: number;
  /** Those that refer to it. */
  readonly referrers: readonly StorePath[];
  /** How many refer to it, directly or not. */
  readonly dependants: number;
  /** A shortest way to it from a root of the closure, both included. */
  readonly chain: readonly StorePath[];
  /** What it refers to, itself excepted. */
  readonly references: readonly StorePath[];
  /** How many it refers to, directly or not. */
  readonly dependencies: number;
  /** Layers that hold it, by index; none where it is excluded, and two where it is at its own place and at the root. */
  readonly layers: readonly number[];
  /** What it would cost in other layers, cheapest first, all of them; empty where it is in no layer, or in two. */
  readonly elsewhere: readonly Alternative[];
  /** What it would cost in a layer of its own, which takes one more; undefined where it has one, or as for {@link elsewhere}. */
  readonly alone: number | undefined;
}

/** What is asked of a cost model. */
type Costs = Pick<CostModel, "chanceOfChange" | "expectedBytes">;

/** What it would cost to have a store path in another layer. */
export interface Alternative {
  readonly layer: number;
  /** Bytes that a release is expected to push more, or, below zero, less. */
  readonly moreBytes: number;
}

const SHOWN = 5;

/**
 * The store path that `text` stands for: itself, or the only one whose base name holds the text. A whole name goes before parts of
 * others: with or without hash, then without version, too.
 * @throws OciNixError `not-found`; `usage` where several have it, naming some
 */
export function findInClosure(closure: Closure, text: string): StorePath {
  if (closure.objects.has(text as StorePath)) return text as StorePath;
  const paths = [...closure.objects.keys()];
  const ways: readonly ((path: StorePath) => boolean)[] = [
    (path) => baseNameOf(path) === text || nameOf(path) === text,
    (path) => packageNameOf(path) === text,
    (path) => baseNameOf(path).includes(text),
  ];
  const found = ways.map((matches) => paths.filter(matches)).find((matching) => matching.length > 0) ?? [];
  const [only] = found;
  if (only === undefined || text === "") {
    throw new OciNixError("not-found", `no store path of the closure has ${JSON.stringify(text)} in its name`, {
      hint: "give a store path or a part of its name; oci-nix closure lists all",
    });
  }
  if (found.length === 1) return only;
  const shown = found.slice(0, SHOWN).map(baseNameOf).join(", ");
  const more = found.length > SHOWN ? ` and ${found.length - SHOWN} more` : "";
  throw new OciNixError(
    "usage",
    `${JSON.stringify(text)} could be any of ${found.length} store paths: ${shown}${more}`,
    {
      hint: "give more of the name, or the whole store path",
    },
  );
}

/** Explains one store path of the closure. */
export function explainPath(
  closure: Closure,
  plans: readonly LayerPlan[],
  storePath: StorePath,
  model: Costs,
): PathExplanation {
  const users = new Map<StorePath, StorePath[]>();
  for (const { path, references } of closure.objects.values()) {
    for (const reference of references) {
      if (reference === path) continue;
      const known = users.get(reference);
      if (known === undefined) users.set(reference, [path]);
      else known.push(path);
    }
  }
  const referencesOf = (path: StorePath) =>
    (closure.objects.get(path)?.references ?? []).filter((reference) => reference !== path);
  const usersOf = (path: StorePath) => users.get(path) ?? [];
  const layers = [...plans.keys()].filter((i) => storePathsOf(plans[i] as LayerPlan).includes(storePath));
  return {
    storePath,
    narSize: closure.objects.get(storePath)?.narSize,
    chanceOfChange: model.chanceOfChange([storePath]),
    referrers: usersOf(storePath),
    dependants: reached(storePath, usersOf).size - 1,
    chain: chainTo(storePath, closure, usersOf),
    references: referencesOf(storePath),
    dependencies: reached(storePath, referencesOf).size - 1,
    layers,
    ...alternatives(plans, layers, storePath, model),
  };
}

function alternatives(
  plans: readonly LayerPlan[],
  layers: readonly number[],
  storePath: StorePath,
  model: Costs,
): Pick<PathExplanation, "elsewhere" | "alone"> {
  const [own, ...others] = layers;
  if (own === undefined || others.length > 0) return { elsewhere: [], alone: undefined };
  const cost = plans.map((plan) => model.expectedBytes(storePathsOf(plan)));
  const rest = storePathsOf(plans[own] as LayerPlan).filter((path) => path !== storePath);
  // What its layer costs less without it; a layer that holds nothing is none.
  const saved = (cost[own] as number) - model.expectedBytes(rest);
  const elsewhere = plans.flatMap((plan, layer): Alternative[] => {
    const isStore = plan.contents.length > 0 && plan.contents.every(({ rewrite }) => rewrite === undefined);
    if (layer === own || !isStore) return [];
    const there = model.expectedBytes([...storePathsOf(plan), storePath]);
    return [{ layer, moreBytes: there - (cost[layer] as number) - saved }];
  });
  return {
    elsewhere: elsewhere.sort((a, b) => a.moreBytes - b.moreBytes || a.layer - b.layer),
    alone: rest.length === 0 ? undefined : model.expectedBytes([storePath]) - saved,
  };
}

function reached(start: StorePath, next: (path: StorePath) => readonly StorePath[]): ReadonlySet<StorePath> {
  const found = new Set([start]);
  // A set gives what is added to it while it is walked.
  for (const path of found) for (const other of next(path)) found.add(other);
  return found;
}

/** Breadth first from the path upwards; of equally short ways the one whose steps come first in order. */
function chainTo(
  storePath: StorePath,
  closure: Closure,
  usersOf: (path: StorePath) => readonly StorePath[],
): readonly StorePath[] {
  const roots = new Set(closure.roots);
  const below = new Map<StorePath, StorePath | undefined>([[storePath, undefined]]);
  for (const [path] of below) {
    if (roots.has(path)) {
      const chain: StorePath[] = [];
      for (let at: StorePath | undefined = path; at !== undefined; at = below.get(at)) chain.push(at);
      return chain;
    }
    for (const user of [...usersOf(path)].sort(compareStrings)) if (!below.has(user)) below.set(user, path);
  }
  return [storePath];
}
