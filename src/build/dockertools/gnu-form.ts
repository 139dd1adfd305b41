import type { GeneratedObject } from "../../core/generated-object.js";
import type { Ownership } from "../../core/ownership.js";
import type { LayerPlan } from "../../layers/plan.js";
import { ownership } from "../file-tree.js";
import type { ImageSpec } from "../spec/spec.js";

/** The tar profile of which it is a part. */
const WITHIN = "dockertools";

const ROOT = ownership(0, 0, "root", "root");

/** Who owns what is in the customisation layer and says nothing else. nixpkgs makes it under fakeroot, whoever owns the store paths. */
export function customisationOwner({ tarProfile, oneLayer }: ImageSpec, owner: Ownership): Ownership {
  return tarProfile?.name === WITHIN && oneLayer !== true ? ROOT : owner;
}

/** A layer that nixpkgs makes by GNU tar, which writes an entry for the root; as it is with every tar profile but `dockertools`. */
export function inGnuForm(plan: LayerPlan, { tarProfile }: ImageSpec, owner: Ownership): LayerPlan {
  if (tarProfile?.name !== WITHIN) return plan;
  const { generated } = plan;
  const root: GeneratedObject = { type: "directory", path: "", mode: 0o755, owner, claim: "none" };
  return { ...plan, tarProfile: "gnu", ...(generated === undefined ? {} : { generated: [root, ...generated] }) };
}
