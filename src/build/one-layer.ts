import { OciNixError } from "../core/errors.js";
import type { LayerPlan } from "../layers/plan.js";

/** What says how layers are split, of which `oneLayer` has none. */
const SPLITTING = ["layers", "strategy", "pipeline", "maxLayers"] as const;

/** @throws OciNixError `invalid-input` for a spec with `oneLayer` that says how layers are split, too */
export function checkOneLayer(
  spec: { readonly oneLayer?: boolean } & Partial<Record<(typeof SPLITTING)[number], unknown>>,
  source: string,
): void {
  const other = spec.oneLayer === true ? SPLITTING.find((key) => spec[key] !== undefined) : undefined;
  if (other === undefined) return;
  throw new OciNixError("invalid-input", `${source}: oneLayer and ${other} contradict each other`, {
    hint: `drop one of them: with oneLayer there is exactly one layer on top of those of fromImage`,
  });
}

/** All of an image's own layers as one, which is there even if it holds nothing. */
export function inOneLayer(plans: readonly LayerPlan[]): LayerPlan {
  const contents = plans.flatMap((plan) => plan.contents);
  const generated = plans.flatMap((plan) => plan.generated ?? []);
  const reason = "everything in one layer";
  // Store paths alone need no tree to be listed by.
  if (contents.length > 0 && generated.length === 0) return { contents, reason };
  return { contents, generated, reason, ...(contents.length > 0 ? {} : { history: { comment: reason } }) };
}
