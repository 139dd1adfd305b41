import { type Digest, parseDigest } from "../../core/digest.js";
import { DEFAULT_TIMESTAMP } from "../../core/timestamp.js";
import { MAX_LAYERS } from "../../layers/plan-layers.js";
import { formatImageConfig } from "../../oci/image.js";
import { hasCommands } from "../customisation/customisation.js";
import { settleLayers } from "../file-tree.js";
import { checkStorePathsExist, type ImagePlan, narSizeOf } from "../image-plan.js";
import { layerKey } from "../layer-key.js";
import { historyComment } from "../recorded-store-paths.js";
import type { ImageSpec } from "../spec/spec.js";
import { type BaseImage, openBaseImage } from "./base-image.js";
import { type CustomisedSpec, customiseSpec, filesOf, type PlanOptions } from "./customised-spec.js";
import { objectsIn, planSpecLayers, withGeneratedLayers } from "./layers.js";
import { readSpecPrevious } from "./previous-image.js";

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
    const isMade = hasCommands(spec) && (spec.oneLayer === true || i === storeLayers.length);
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
