import { type Digest, parseDigest } from "../core/digest.js";
import { atPlace, OciNixError } from "../core/errors.js";
import type { Ownership } from "../core/ownership.js";
import { DEFAULT_TIMESTAMP } from "../core/timestamp.js";
import { GroupPlanner } from "../layers/layer-groups.js";
import type { LayerPlan } from "../layers/plan.js";
import { checkMaxLayers, DEFAULT_MAX_LAYERS, DEFAULT_STRATEGY, MAX_LAYERS } from "../layers/plan-layers.js";
import type { PreviousLayout } from "../layers/previous.js";
import type { Closure, StoreObject } from "../nix/closure.js";
import { nixDatabaseTree } from "../nix/database-tree.js";
import { parseStorePath, type StorePath } from "../nix/store-path.js";
import { formatImageConfig } from "../oci/image.js";
import { tarProfile } from "../tar/profiles.js";
import { type BaseImage, openBaseImage, type PlannedBase } from "./base-image.js";
import { copiedToRoot, permissionsOf } from "./copied-to-root.js";
import { customisationLayer, customisationRoots, hasCommands, isCustomised } from "./customisation/customisation.js";
import { type Customisation, customiseImage } from "./customisation/image.js";
import { ownership, settleLayers } from "./file-tree.js";
import { checkStorePathsExist, type ImagePlan, narSizeOf } from "./image-plan.js";
import { layerKey } from "./layer-key.js";
import { type ReadPreviousOptions, readSpecPrevious } from "./previous-image.js";
import { historyComment } from "./recorded-store-paths.js";
import type { ImageSpec, LayerSpec, NixDatabaseSpec } from "./spec.js";
import { knownPaths, readSpecClosure } from "./spec-closure.js";

/**
 * The layers a spec asks for, bottom first: the explicit ones, then those of everything else. A pipeline without `maxLayers` may give
 * more than an image can have.
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
  const { strategy = DEFAULT_STRATEGY, pipeline, layers = [] } = spec;
  const { maxLayers = pipeline === undefined ? DEFAULT_MAX_LAYERS : Number.POSITIVE_INFINITY } = spec;
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
    strategy: group.strategy ?? strategy,
    previous,
  });
  const explicit = layers.flatMap((layer, i) => {
    const group = { ...groupOf(layer, `layers[${i}]: `), label: `layer ${i + 1} of the spec`, history: layer.history };
    return atPlace(`layers[${i}]`, () => planner.plan({ ...group, maxLayers: layer.maxLayers ?? 1 }));
  });
  const rest = groupOf({ ...spec, exclude: [] }, "");
  const moved = new Set([spec, ...layers].flatMap((group) => group.copyToRoot ?? []));
  const roots = [
    ...(spec.closure.roots?.map((path) => parseStorePath(path, closure.storeDir)) ??
      closure.roots.filter((path) => !moved.has(path))),
    ...customisationRoots(spec).map((path) => inClosure(path, "contents and files")),
  ];
  const baseLayers = base?.layers.length ?? 0;
  const room =
    maxLayers - baseLayers - explicit.length - (isDatabaseWanted(spec) ? 1 : 0) - (isCustomised(spec) ? 1 : 0);
  const plans = planner.plan({
    ...rest,
    roots,
    strategy: pipeline ?? strategy,
    maxLayers: Math.max(room, 1),
    label: "",
  });
  if (plans.length > room) {
    throw new OciNixError(
      "limit",
      `of ${maxLayers} layers, ${maxLayers - room} are taken already: none is left for the rest`,
      {
        hint: `use --max-layers ${maxLayers - room + 1} or more (at most ${MAX_LAYERS}), or fewer explicit layers; those of fromImage count`,
      },
    );
  }
  if (baseLayers + explicit.length + plans.length === 0 && !hasCommands(spec)) {
    throw new OciNixError("invalid-input", "every store path is excluded: no layer is left");
  }
  return [...explicit, ...plans];
}

/** The store objects that an image has at their own place, which are those that Nix can know there. */
export function objectsIn(plans: readonly LayerPlan[], closure: Closure, base?: PlannedBase): readonly StoreObject[] {
  const staying = plans.flatMap((plan) => plan.contents.filter(({ rewrite }) => rewrite === undefined));
  const paths = new Set([...(base?.storePaths ?? []), ...staying.map(({ storePath }) => storePath)]);
  return [...closure.objects.values()].filter(({ path }) => paths.has(path));
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

function withGeneratedLayers(
  plans: readonly LayerPlan[],
  spec: ImageSpec,
  closure: Closure,
  objects: readonly StoreObject[],
  customisation: Customisation["objects"],
): readonly LayerPlan[] {
  const customised = isCustomised(spec) ? [customisationLayer(customisation)] : [];
  return [...plans, ...customised, ...databaseLayer(spec, closure, objects)];
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

/**
 * Decides everything about the image a spec asks for. Of files only those are read that want the same place and may differ.
 * @throws OciNixError for anything wrong with the spec or the closure, a store path that is missing, contents that collide; as
 *   {@link readSpecPrevious} and {@link openBaseImage}; the signal's reason
 */
export async function planImage(spec: ImageSpec, options: PlanOptions = {}): Promise<ImagePlan> {
  const base = await openBaseImage(spec, options);
  try {
    return await planImageOn(base, spec, options);
  } catch (error) {
    base?.close();
    throw error;
  }
}

/** A spec whose customisation is made. */
export interface CustomisedSpec extends Pick<Customisation, "close"> {
  /** With what the customisation refers to among its roots, and without what has become a part of it. */
  readonly spec: ImageSpec;
  readonly closure: Closure;
  readonly customisation: Customisation["objects"];
}

/**
 * Makes a spec's customisation, which may ask for more store paths than the spec does: commands are run for it.
 * @param options.onlyStorePaths whether nothing is wanted but which store paths are shipped: then the store is looked at for commands only
 * @throws OciNixError as {@link planSpecLayers} and {@link customiseImage}; `not-found` for store paths that are missing
 */
export async function customiseSpec(
  spec: ImageSpec,
  base: PlannedBase | undefined,
  options: Pick<PlanOptions, "signal" | "onCommandLine"> & { readonly onlyStorePaths?: boolean },
): Promise<CustomisedSpec> {
  const closure = await readSpecClosure(spec);
  if (!isCustomised(spec)) return { spec, closure, customisation: [], close: () => undefined };
  // How it is split does not matter yet, but what is in it.
  const plans = planSpecLayers({ ...spec, strategy: "single", pipeline: undefined }, closure, undefined, base);
  const shipped = new Set(objectsIn(plans, closure, base).map(({ path }) => path));
  const changes = hasCommands(spec);
  const isSketch = options.onlyStorePaths === true && !changes;
  if (!isSketch) checkStorePathsExist(plans, spec.closure.storeRoot ?? "/");
  // What these refer to is shipped anyway.
  const looked = isSketch ? { ...spec, contents: undefined, helpers: undefined } : spec;
  const { objects, references, close } = await customiseImage(looked, {
    ...{ closure, shipped, ...options },
    copied: changes ? copiedToRoot(spec, closure) : [],
    known: async () => await knownPaths(spec, closure),
    files: filesOf(spec),
    mtime: (spec.mtime ?? DEFAULT_TIMESTAMP).seconds,
  });
  try {
    const moved = new Set<string>(spec.copyToRoot);
    // What was shipped only for what commands may have changed is shipped because of what they left.
    const isThere = (path: StorePath) => (changes ? base?.storePaths : shipped)?.has(path) === true;
    const wanted = references.filter((path) => !isThere(path) && !spec.exclude?.includes(path));
    const roots = [...(spec.closure.roots ?? closure.roots.filter((path) => !moved.has(path))), ...wanted];
    const rest = { copyToRoot: undefined, perms: spec.perms?.filter(({ path }) => shipped.has(path as StorePath)) };
    const asksForMore = changes || wanted.length > 0;
    const made = asksForMore ? { ...spec, closure: { ...spec.closure, roots }, ...(changes ? rest : {}) } : spec;
    const isKnown = wanted.every((path) => closure.objects.has(path));
    return { spec: made, closure: isKnown ? closure : await readSpecClosure(made), customisation: objects, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** How the files of an image are read, and whose they are. */
function filesOf({ closure, tarProfile: profile, ...spec }: ImageSpec): ImagePlan["files"] {
  const { uid = 0, gid = 0, uname = "root", gname = "root" } = spec;
  const owner = ownership(uid, gid, uname, gname);
  return { storeRoot: closure.storeRoot ?? "/", profile: profile ?? tarProfile("oci"), owner };
}

/** How an image is planned. */
export interface PlanOptions extends ReadPreviousOptions {
  /** Is given what commands say, line by line, and how they are run. */
  readonly onCommandLine?: ((line: string) => void) | undefined;
}

async function planImageOn(base: BaseImage | undefined, asked: ImageSpec, options: PlanOptions): Promise<ImagePlan> {
  const made = await customiseSpec(asked, base, options);
  try {
    return await planCustomisedImage(base, made, options);
  } catch (error) {
    made.close();
    throw error;
  }
}

async function planCustomisedImage(
  base: BaseImage | undefined,
  { spec, closure, customisation, close }: CustomisedSpec,
  options: PlanOptions,
): Promise<ImagePlan> {
  const { signal } = options;
  const { name, tag = "latest" } = spec;
  const { author, created = DEFAULT_TIMESTAMP, mtime = DEFAULT_TIMESTAMP, config = new Map() } = spec;
  const { architecture = "amd64", variant } = base ?? spec;
  const files = filesOf(spec);
  // Elsewhere a pipeline's layers may be looked at however many they are.
  const limits = spec.pipeline === undefined ? {} : { maxLayers: spec.maxLayers ?? MAX_LAYERS };
  const storeLayers = planSpecLayers({ ...spec, ...limits }, closure, await readSpecPrevious(spec, options), base);
  checkStorePathsExist(storeLayers, files.storeRoot);
  const objects = objectsIn(storeLayers, closure, base);
  const plans = withGeneratedLayers(storeLayers, spec, closure, objects, customisation);
  const layers = (await settleLayers(plans, { ...files, signal })).map((plan, i) => {
    // What commands make is made anew each time.
    const isMade = i === storeLayers.length && hasCommands(spec);
    const key = isMade ? undefined : layerKey(plan, closure.objects, files, mtime.seconds);
    return { kind: "store", plan, narSize: narSizeOf(plan, closure), key, objects: closure.objects } as const;
  });
  const metadata = { architecture, variant, created, author, config: base?.configOf(config) ?? config };
  const below = base?.layers ?? [];
  return {
    repoTags: name === undefined ? [] : [`${name}:${tag}`],
    layers: [...below, ...layers],
    base: base?.place,
    files,
    mtime: mtime.seconds,
    compression: spec.compression,
    formatConfig(digests) {
      const diffIds = digests.map((digest) => parseDigest(digest, "layer"));
      return formatImageConfig(
        metadata,
        layers.map((layer, i) => ({
          diffId: diffIds[below.length + i] as Digest,
          history: {
            created: created.text,
            created_by: "oci-nix",
            comment: historyComment(layer),
            ...layer.plan.history,
          },
        })),
        base && { diffIds: diffIds.slice(0, below.length), history: base.history },
      );
    },
    close() {
      close();
      base?.close();
    },
  };
}
