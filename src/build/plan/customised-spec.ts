import { compareStrings } from "../../core/errors.js";
import { DEFAULT_TIMESTAMP } from "../../core/timestamp.js";
import type { LayerContent } from "../../layers/plan.js";
import type { Closure } from "../../nix/closure.js";
import { type StorePath, storePathsNamedIn } from "../../nix/store-path.js";
import { tarProfile } from "../../tar/profiles.js";
import { copiedTrees, hasCommands, isCustomised, mounted } from "../customisation/customisation.js";
import { type Customisation, customiseImage } from "../customisation/image.js";
import type { RootRunner } from "../customisation/root-script.js";
import { customisationOwner } from "../dockertools/gnu-form.js";
import { checkStorePathsExist, type ImagePlan } from "../image-plan.js";
import type { ImageSpec } from "../spec/spec.js";
import type { PlannedBase } from "./base-image.js";
import { knownPaths, readClosure, readSpecClosure } from "./closure.js";
import { copiedToRoot } from "./copied-to-root.js";
import { imageOwner, objectsIn, planSpecLayers } from "./layers.js";
import type { ReadPreviousOptions } from "./previous-image.js";

/** How an image is planned. */
export interface PlanOptions extends ReadPreviousOptions {
  /** Is given what commands say, line by line, and how they are run. */
  readonly onCommandLine?: ((line: string) => void) | undefined;
  /** Runs what is to run as root; without it that is an error. */
  readonly rootRunner?: RootRunner | undefined;
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
  options: Pick<PlanOptions, "signal" | "onCommandLine" | "rootRunner" | "tlsVerify" | "deadlineMs"> & {
    readonly onlyStorePaths?: boolean;
  },
): Promise<CustomisedSpec> {
  const closure = await readSpecClosure(spec);
  if (!isCustomised(spec)) return { spec, closure, customisation: [], close: () => undefined };
  // How it is split does not matter yet, but what is in it.
  const plans = planSpecLayers({ ...spec, strategy: "single", pipeline: undefined }, closure, undefined, base);
  const present = spec.includeStorePaths === false ? mounted(spec, closure) : objectsIn(plans, closure, base);
  const shipped = new Set(present.map(({ path }) => path));
  const changes = hasCommands(spec);
  const isSketch = options.onlyStorePaths === true && !changes;
  if (!isSketch) checkStorePathsExist(plans, spec.closure.storeRoot ?? "/");
  // What these refer to is shipped anyway.
  const looked = isSketch ? { ...spec, contents: undefined, helpers: undefined } : spec;
  const { objects, references, close } = await customiseImage(looked, {
    ...{ closure, shipped, ...options },
    registry: { tlsVerify: options.tlsVerify, deadlineMs: options.deadlineMs },
    copied: changes && copiedTrees(spec).length === 0 ? copiedToRoot(spec, closure) : [],
    store: spec.runAsRoot === undefined ? [] : await storeOf(spec.runAsRoot, spec, closure, shipped),
    known: async () => await knownPaths(spec, closure),
    files: filesOf(spec),
    owner: customisationOwner(spec, imageOwner(spec)),
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

/** The store paths of the image, and those that a script names, with all they refer to. */
async function storeOf(
  script: string,
  spec: ImageSpec,
  { storeDir }: Closure,
  shipped: ReadonlySet<StorePath>,
): Promise<readonly LayerContent[]> {
  const named = storePathsNamedIn(script, storeDir);
  const programs = named.length === 0 ? [] : (await readClosure({ ...spec.closure, roots: named })).objects.keys();
  return [...new Set([...shipped, ...programs])].sort(compareStrings).map((storePath) => ({ storePath }));
}

/** How the files of an image are read, and whose they are. */
export function filesOf(spec: ImageSpec): ImagePlan["files"] {
  const { closure, tarProfile: profile = tarProfile("oci") } = spec;
  return { storeRoot: closure.storeRoot ?? "/", profile, owner: imageOwner(spec) };
}
