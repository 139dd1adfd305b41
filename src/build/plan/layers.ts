import { atPlace, OciNixError } from "../../core/errors.js";
import type { Ownership } from "../../core/ownership.js";
import { GroupPlanner } from "../../layers/layer-groups.js";
import type { LayerPlan } from "../../layers/plan.js";
import { checkMaxLayers, DEFAULT_MAX_LAYERS, DEFAULT_STRATEGY, MAX_LAYERS } from "../../layers/plan-layers.js";
import type { PreviousLayout } from "../../layers/previous.js";
import type { Closure, StoreObject } from "../../nix/closure.js";
import { nixDatabaseTree } from "../../nix/database-tree.js";
import { parseStorePath, type StorePath } from "../../nix/store-path.js";
import {
  copiedTrees,
  customisationLayer,
  customisationRoots,
  hasCommands,
  isCustomised,
} from "../customisation/customisation.js";
import type { Customisation } from "../customisation/image.js";
import { customisationOwner, inGnuForm } from "../dockertools/gnu-form.js";
import { ownership } from "../file-tree.js";
import type { LayerSpec, NixDatabaseSpec } from "../spec/parts.js";
import type { ImageSpec } from "../spec/spec.js";
import type { PlannedBase } from "./base-image.js";
import { inOneLayer } from "./one-layer.js";
import { permissionsOf } from "./permissions.js";

/**
 * The layers a spec asks for, bottom first: the explicit ones, then those of everything else. A pipeline without `maxLayers` may give
 * more than an image can have. With `oneLayer` there is at most one.
 * @param previous what `readSpecPrevious` gave
 * @param base what `openBaseImage` gave: its layers count, and what it has is not shipped again
 * @throws OciNixError `invalid-input` or `not-found` where a path is no store path or not in the closure, or everything is excluded;
 *   `limit` where the explicit layers leave no room; see {@link planLayers}
 */
export function planSpecLayers(
  spec: ImageSpec,
  closure: Closure,
  previous?: PreviousLayout,
  base?: PlannedBase,
): readonly LayerPlan[] {
  const { oneLayer = false, pipeline, layers = [] } = spec;
  const { strategy = oneLayer ? "single" : DEFAULT_STRATEGY } = spec;
  const anyLimit = oneLayer ? MAX_LAYERS : DEFAULT_MAX_LAYERS;
  const { maxLayers = pipeline === undefined ? anyLimit : Number.POSITIVE_INFINITY } = spec;
  if (maxLayers !== Number.POSITIVE_INFINITY) checkMaxLayers(maxLayers);
  const inClosure = (path: string, where: string): StorePath => {
    const storePath = atPlace(where, () => parseStorePath(path, closure.storeDir));
    if (closure.objects.has(storePath)) return storePath;
    throw new OciNixError("not-found", `${where}: ${path} is not in the closure`, {
      hint: "drop it there, or add it to the roots",
    });
  };
  const planner = new GroupPlanner(closure, base?.storePaths);
  const excluded = (spec.exclude ?? []).map((path) => inClosure(path, "exclude"));
  const groupOf = (group: LayerSpec, where: string) => ({
    roots: (group.deps ?? []).map((path) => inClosure(path, `${where}deps`)),
    copyToRoot: (group.copyToRoot ?? []).map((path) => inClosure(path, `${where}copyToRoot`)),
    permissions: permissionsOf(group.perms ?? [], (path) => inClosure(path, `${where}perms`)),
    exclude: new Set(excluded),
    leaveOut: (group.exclude ?? []).map((path) => inClosure(path, `${where}exclude`)),
    isStoreless: spec.includeStorePaths === false,
    strategy: group.strategy ?? strategy,
    previous,
  });
  const explicit = layers.flatMap((layer, i) => {
    const group = { ...groupOf(layer, `layers[${i}]: `), label: `layer ${i + 1} of the spec`, history: layer.history };
    return atPlace(`layers[${i}]`, () => planner.plan({ ...group, maxLayers: layer.maxLayers ?? 1 }));
  });
  const copied = new Set(copiedTrees(spec).map((path) => inClosure(path, "copyToRoot")));
  const ruled = spec.perms?.find(({ path }) => copied.has(path as StorePath));
  if (ruled !== undefined) {
    throw new OciNixError("unsupported", `perms: ${ruled.path} is copied to the root with keepContentsDirlinks`, {
      hint: "permission rules are for copyToRoot without keepContentsDirlinks; files may name directories and who owns them",
    });
  }
  const rest = { ...groupOf({ ...spec, exclude: [] }, ""), isCopied: copied.size > 0 };
  const moved = new Set([spec, ...layers].flatMap((group) => group.copyToRoot ?? []));
  const roots = [
    ...(spec.closure.roots?.map((path) => parseStorePath(path, closure.storeDir)) ??
      closure.roots.filter((path) => !moved.has(path))),
    // As dockerTools, which looks for references in what was copied.
    ...[...copied].filter((path) => closure.objects.get(path)?.references.includes(path)),
    ...customisationRoots(spec).map((path) => inClosure(path, "contents and files")),
  ];
  const baseLayers = base?.layers.length ?? 0;
  const generated = oneLayer ? 0 : (isDatabaseWanted(spec) ? 1 : 0) + (isCustomised(spec) ? 1 : 0);
  const room = maxLayers - baseLayers - explicit.length - generated;
  const plans = planner.plan({
    ...rest,
    roots,
    strategy: pipeline ?? strategy,
    maxLayers: oneLayer ? 1 : Math.max(room, 1),
    label: "",
  });
  if ((oneLayer ? 1 : plans.length) > room) {
    throw new OciNixError(
      "limit",
      `of ${maxLayers} layers, ${maxLayers - room} are taken already: none is left for the rest`,
      { hint: roomHint({ taken: maxLayers - room, ofBase: baseLayers, explicit: explicit.length }) },
    );
  }
  const isStoreless =
    spec.includeStorePaths === false || closure.objects.size === 0 || copied.size > 0 || hasCommands(spec);
  const isLayerLeft = isStoreless && (isCustomised(spec) || spec.oneLayer === true);
  if (baseLayers + explicit.length + plans.length === 0 && !isLayerLeft) {
    const reason = isStoreless ? "nothing is to be in the image" : "every store path is excluded";
    throw new OciNixError("invalid-input", `${reason}: no layer is left`);
  }
  return [...explicit, ...plans];
}

/** What to do where layers that are taken leave none. */
function roomHint({ taken, ofBase, explicit }: Readonly<Record<"taken" | "ofBase" | "explicit", number>>): string {
  if (taken < MAX_LAYERS) {
    const others = `${explicit > 0 ? ", or fewer explicit layers" : ""}${ofBase > 0 ? "; those of fromImage count" : ""}`;
    return `use --max-layers ${taken + 1} or more (at most ${MAX_LAYERS})${others}`;
  }
  if (taken - explicit < MAX_LAYERS) return `use fewer explicit layers: an image has at most ${MAX_LAYERS}`;
  return `fromImage has ${ofBase} layers, and an image at most ${MAX_LAYERS}: take one with fewer, or make it one layer (oci-nix export IMAGE | docker import - NAME, which keeps no config)`;
}

/** The store objects that an image has at their own place, which are those that Nix can know there. */
export function objectsIn(plans: readonly LayerPlan[], closure: Closure, base?: PlannedBase): readonly StoreObject[] {
  const staying = plans.flatMap((plan) => plan.contents.filter(({ rewrite }) => rewrite === undefined));
  const paths = new Set([...(base?.storePaths ?? []), ...staying.map(({ storePath }) => storePath)]);
  return [...closure.objects.values()].filter(({ path }) => paths.has(path));
}

/** Who owns what says nothing else. */
export function imageOwner({ uid = 0, gid = 0, uname = "root", gname = "root" }: ImageSpec): Ownership {
  return ownership(uid, gid, uname, gname);
}

/** Modes of the Nix database's directories and files, where they are not Nix's own. */
export function databaseModes({ nixDatabase = {} }: ImageSpec): Pick<NixDatabaseSpec, "directoryMode" | "fileMode"> {
  const { directoryMode, fileMode } = nixDatabase;
  return { directoryMode, fileMode };
}

/** Who owns the Nix database, and `/nix/store` with it. */
export function databaseOwner({ nixDatabase = {}, ...spec }: ImageSpec): Ownership {
  const { uid = spec.uid ?? 0, gid = spec.gid ?? 0 } = nixDatabase;
  return ownership(uid, gid, nixDatabase.uname ?? spec.uname ?? "root", nixDatabase.gname ?? spec.gname ?? "root");
}

/**
 * All layers a spec asks for, those of what is generated included; of the customisation layer only that it is there.
 * @throws OciNixError as {@link planSpecLayers} and {@link nixDatabaseTree}
 */
export function planAllLayers(
  spec: ImageSpec,
  closure: Closure,
  previous?: PreviousLayout,
  base?: PlannedBase,
): readonly LayerPlan[] {
  const plans = planSpecLayers(spec, closure, previous, base);
  return withGeneratedLayers(plans, spec, closure, objectsIn(plans, closure, base), []);
}

/** With the layers of what is generated: the customisation's objects, and the Nix database. */
export function withGeneratedLayers(
  plans: readonly LayerPlan[],
  spec: ImageSpec,
  closure: Closure,
  objects: readonly StoreObject[],
  customisation: Customisation["objects"],
): readonly LayerPlan[] {
  const owner = imageOwner(spec);
  const customised = isCustomised(spec) ? [customisationLayer(customisation)] : [];
  const database = databaseLayer(spec, closure, objects);
  if (spec.oneLayer === true) return [inGnuForm(inOneLayer([...plans, ...customised, ...database]), spec, owner)];
  return [...plans, ...customised.map((plan) => inGnuForm(plan, spec, customisationOwner(spec, owner))), ...database];
}

/** The layer of the Nix database, where it is wanted. @throws OciNixError as {@link nixDatabaseTree} */
function databaseLayer(spec: ImageSpec, closure: Closure, objects: readonly StoreObject[]): readonly LayerPlan[] {
  if (!isDatabaseWanted(spec)) return [];
  const generated = nixDatabaseTree(objects, {
    storeDir: closure.storeDir,
    storeRoot: spec.closure.storeRoot ?? "/",
    owner: databaseOwner(spec),
    ...databaseModes(spec),
  });
  const reason = "the Nix database";
  return [{ contents: [], generated, reason, history: { comment: reason } }];
}

function isDatabaseWanted({ nixDatabase }: ImageSpec): boolean {
  return nixDatabase !== undefined && nixDatabase.enable !== false;
}
