import { OciNixError } from "../core/errors.js";
import { quoteRegex } from "../core/regex.js";
import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import type { Pipeline } from "./pipeline/parse.js";
import type { LayerContent, LayerHistory, LayerPlan, PermissionRule } from "./plan.js";
import { followsPrevious, planLayers } from "./plan-layers.js";
import type { PreviousLayout } from "./previous.js";

/** Store paths that are shipped together, in layers of their own: an explicit layer of a spec, or all the rest. */
export interface LayerGroup {
  /** Shipped with everything they refer to. */
  readonly roots: readonly StorePath[];
  /** The contents of these go to the root of the image, and what they refer to is shipped. */
  readonly copyToRoot: readonly StorePath[];
  /** By store path. */
  readonly permissions: ReadonlyMap<StorePath, readonly PermissionRule[]>;
  /** Planned with but never shipped, in no group. */
  readonly exclude: ReadonlySet<StorePath>;
  /** Left out of this group, which reaches them. */
  readonly leaveOut: readonly StorePath[];
  /** What goes to the root is put there by others: only what it refers to is planned. */
  readonly isCopied?: boolean;
  /** Nothing is at its own place: only what goes to the root is shipped. */
  readonly isStoreless?: boolean;
  readonly strategy: string | Pipeline;
  readonly maxLayers: number;
  /** As {@link StrategyOptions.previous}. */
  readonly previous?: PreviousLayout | undefined;
  readonly history?: LayerHistory | undefined;
  /** What the reasons of its layers begin with; empty where there is nothing to say. */
  readonly label: string;
}

/**
 * Plans the layers of several groups, bottom first, each without what the groups before it hold in the same form.
 *
 * A store path that goes to the root is not at its own place, unless something else that is shipped refers to it or it is asked for as a
 * root, too: then it is in the image twice, as otherwise there would be a dangling reference.
 */
export class GroupPlanner {
  readonly #closure: Closure;
  readonly #held: Set<string>;

  /** @param held store paths that are in the image at their own place before any group */
  constructor(closure: Closure, held: Iterable<StorePath> = []) {
    this.#closure = closure;
    this.#held = new Set(held);
  }

  /** The layers of the next group; none where everything is held already. @throws OciNixError as {@link planLayers} */
  plan(group: LayerGroup): readonly LayerPlan[] {
    return planGroup(this.#closure, group, this.#held);
  }
}

function planGroup(closure: Closure, group: LayerGroup, held: Set<string>): LayerPlan[] {
  const { strategy, maxLayers, history, label, permissions, isCopied = false, isStoreless = false } = group;
  const reached = reachableFrom(closure, [...group.roots, ...group.copyToRoot]);
  const without = group.leaveOut.find((path) => !reached.has(path));
  if (without !== undefined) {
    throw new OciNixError("invalid-input", `exclude: ${without} would not be in ${label} anyway`, {
      hint: "drop it there",
    });
  }
  const left = new Set([...group.exclude, ...group.leaveOut]);
  const wanted = new Set((isStoreless ? group.copyToRoot : [...reached]).filter((path) => !left.has(path)));
  for (const path of permissions.keys()) {
    if (wanted.has(path)) continue;
    throw new OciNixError(
      "invalid-input",
      `perms: ${path} is not in ${label === "" ? "what the layers are made of" : label}`,
      {
        hint: "a permission rule names a store path that is shipped where the rule stands",
      },
    );
  }
  const moved = new Set(group.copyToRoot.filter((path) => wanted.has(path)));
  const contentOf = (storePath: StorePath): LayerContent => {
    const rules = permissions.get(storePath);
    return rules === undefined ? { storePath } : { storePath, permissions: rules };
  };
  const staying = isStoreless ? [] : stayingPaths(closure, wanted, moved, group.roots);
  for (const path of permissions.keys()) {
    if (moved.has(path) || !held.has(path) || held.has(keyOf(contentOf(path)))) continue;
    throw new OciNixError("conflict", `perms: ${path} is in an earlier layer already, without this rule`, {
      hint: "give the rule to the layer of the spec that holds it",
    });
  }
  // What an earlier group holds at its own place is there; rules for it were that group's.
  const isHeld = (content: LayerContent) =>
    held.has(content.rewrite === undefined ? content.storePath : keyOf(content));
  const shipped = [...staying].filter((path) => !isHeld(contentOf(path)));
  const grafts = (isCopied ? [] : [...moved].sort()).flatMap((path) => {
    const content: LayerContent = { ...contentOf(path), rewrite: { regex: `^${quoteRegex(path)}`, replacement: "" } };
    return isHeld(content) ? [] : [content];
  });
  for (const path of shipped) held.add(keyOf(contentOf(path))).add(path);
  for (const graft of grafts) held.add(keyOf(graft));

  // What another image's documents say of store paths holds only where they are as they are; the splits of other programs stay theirs.
  const changed = followsPrevious(strategy) ? shipped.filter((path) => permissions.has(path)) : [];
  const apart = [...changed.map(contentOf), ...grafts];
  const ships = new Set(shipped.filter((path) => !changed.includes(path)));
  const exclude = new Set([...closure.objects.keys()].filter((path) => !ships.has(path)));
  // What moves or is changed is a layer of its own where there may be two: the rest can then be listed and kept by itself.
  const isApart = apart.length > 0 && maxLayers > 1;
  const split = planLayers(closure, {
    strategy,
    maxLayers: isApart ? maxLayers - 1 : maxLayers,
    exclude,
    previous: group.previous,
  });
  const plans = split.map((plan) => ({
    ...plan,
    contents: plan.contents.map(({ storePath }) => contentOf(storePath)),
  }));
  if (apart.length > 0) {
    const last = isApart ? undefined : plans.pop();
    const contents = [...(last?.contents ?? []), ...apart];
    const what = [
      ...(grafts.length > 0 ? ["copied to the root"] : []),
      ...(changed.length > 0 ? ["with permission rules"] : []),
    ].join(", or ");
    plans.push({ contents, reason: last === undefined ? what : `${last.reason}, and what is ${what}` });
  }
  return plans.map((plan) => ({
    contents: plan.contents,
    reason: label === "" ? plan.reason : `${label}: ${plan.reason}`,
    ...(history === undefined ? {} : { history }),
  }));
}

/** Everything the paths reach. */
function reachableFrom(closure: Closure, from: readonly StorePath[]): ReadonlySet<StorePath> {
  const found = new Set<StorePath>();
  const pending = [...from];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    pending.push(...(closure.objects.get(path)?.references ?? []));
  }
  return found;
}

/** Of the wanted paths, those that are to be at their own place. */
function stayingPaths(
  closure: Closure,
  wanted: ReadonlySet<StorePath>,
  moved: ReadonlySet<StorePath>,
  roots: readonly StorePath[],
): ReadonlySet<StorePath> {
  const referenced = new Set<StorePath>(roots);
  for (const path of wanted) {
    for (const reference of closure.objects.get(path)?.references ?? []) {
      if (reference !== path) referenced.add(reference);
    }
  }
  return new Set([...wanted].filter((path) => !moved.has(path) || referenced.has(path)));
}

function keyOf({ storePath, rewrite, permissions }: LayerContent): string {
  return JSON.stringify([storePath, rewrite, permissions]);
}
