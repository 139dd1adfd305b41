import type { LayerPlan } from "../../layers/plan.js";

/** All of an image's own layers as one, which is there even if it holds nothing. */
export function inOneLayer(plans: readonly LayerPlan[]): LayerPlan {
  const contents = plans.flatMap((plan) => plan.contents);
  const generated = plans.flatMap((plan) => plan.generated ?? []);
  const reason = "everything in one layer";
  // Store paths alone need no tree to be listed by.
  if (contents.length > 0 && generated.length === 0) return { contents, reason };
  return { contents, generated, reason, ...(contents.length > 0 ? {} : { history: { comment: reason } }) };
}
