import { parseDigest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { DEFAULT_TIMESTAMP } from "../core/timestamp.js";
import type { LayerPlan } from "../layers/plan.js";
import { DEFAULT_MAX_LAYERS, DEFAULT_STRATEGY, planLayers } from "../layers/plan-layers.js";
import type { Closure } from "../nix/closure.js";
import { readLocalClosure } from "../nix/local-database.js";
import { readClosureFile } from "../nix/read-closure.js";
import { parseStorePath, type StorePath } from "../nix/store-path.js";
import { formatImageConfig, storePathsComment } from "../oci/image.js";
import { tarProfile } from "../tar/profiles.js";
import { ownership } from "./file-tree.js";
import { checkStorePathsExist, type ImagePlan, pathsOf } from "./image-plan.js";
import type { ClosureSpec, ImageSpec } from "./spec.js";

/**
 * Reads a closure: from a graph file where one is given, else from the Nix database.
 * @throws OciNixError see {@link readClosureFile} and {@link readLocalClosure}
 */
export async function readClosure({ roots, graph, storeRoot, storeDir }: ClosureSpec): Promise<Closure> {
  const dir = storeDir === undefined ? {} : { storeDir };
  if (graph !== undefined) return await readClosureFile(graph, { ...(roots === undefined ? {} : { roots }), ...dir });
  return await readLocalClosure(roots ?? [], { storeRoot: storeRoot ?? "/", ...dir });
}

/**
 * The layers a spec asks for, bottom first.
 * @throws OciNixError `invalid-input` where an excluded path is not a store path or everything is excluded; see {@link planLayers}
 */
export function planSpecLayers(spec: ImageSpec, closure: Closure): readonly LayerPlan[] {
  const exclude = excludedPaths(spec, closure);
  const { strategy = DEFAULT_STRATEGY, maxLayers = DEFAULT_MAX_LAYERS } = spec;
  const plans = planLayers(closure, { strategy, maxLayers, exclude });
  if (plans.length === 0) throw new OciNixError("invalid-input", "every store path is excluded: no layer is left");
  return plans;
}

/**
 * The store paths that a spec plans with but never ships.
 * @throws OciNixError `invalid-input` where one is not a store path; `not-found` where it is not in the closure
 */
export function excludedPaths(spec: ImageSpec, closure: Closure): ReadonlySet<StorePath> {
  const exclude = new Set<StorePath>();
  for (const path of spec.exclude ?? []) {
    const storePath = parseStorePath(path, closure.storeDir);
    if (!closure.objects.has(storePath)) {
      throw new OciNixError("not-found", `${path} is excluded but not in the closure`, {
        hint: "drop it from --exclude (spec: exclude)",
      });
    }
    exclude.add(storePath);
  }
  return exclude;
}

/** Sum of the NAR sizes of what a layer holds, in bytes; undefined where one is unknown. */
export function narSizeOf(plan: LayerPlan, closure: Closure): number | undefined {
  let sum = 0;
  for (const { storePath } of plan.contents) {
    const size = closure.objects.get(storePath)?.narSize;
    if (size === undefined) return undefined;
    sum += size;
  }
  return sum;
}

/**
 * Decides everything about the image a spec asks for, reading the closure graph but no file contents.
 * @throws OciNixError for anything wrong with the spec or the closure, or a store path that is missing
 */
export async function planImage(spec: ImageSpec): Promise<ImagePlan> {
  const { name, tag = "latest", uid = 0, gid = 0, uname = "root", gname = "root" } = spec;
  const { variant, author, architecture = "amd64", created = DEFAULT_TIMESTAMP, mtime = DEFAULT_TIMESTAMP } = spec;
  const { tarProfile: profile = tarProfile("oci") } = spec;
  const closure = await readClosure(spec.closure);
  const layers = planSpecLayers(spec, closure).map(
    (plan) => ({ kind: "store", plan, narSize: narSizeOf(plan, closure) }) as const,
  );
  const storeRoot = spec.closure.storeRoot ?? "/";
  checkStorePathsExist(layers, storeRoot);
  const metadata = { architecture, variant, created, author, config: spec.config ?? new Map() };
  return {
    repoTags: name === undefined ? [] : [`${name}:${tag}`],
    layers,
    files: { storeRoot, profile, owner: ownership(uid, gid, uname, gname) },
    mtime: mtime.seconds,
    formatConfig: (diffIds) =>
      formatImageConfig(
        metadata,
        layers.map((layer, i) => ({
          diffId: parseDigest(diffIds[i], "layer"),
          history: { created: created.text, created_by: "oci-nix", comment: storePathsComment(pathsOf(layer)) },
        })),
      ),
    close: () => undefined,
  };
}
