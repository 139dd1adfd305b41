import { OciNixError } from "../../core/errors.js";

/** What says how layers are split, of which `oneLayer` has none. */
const SPLITTING = ["layers", "strategy", "pipeline", "maxLayers"] as const;

/** The fields of a spec that may contradict each other, as far as it matters whether they are there. */
interface Fields extends Partial<Record<(typeof SPLITTING)[number], unknown>> {
  readonly oneLayer?: boolean | undefined;
  readonly includeStorePaths?: boolean | undefined;
  readonly nixDatabase?: { readonly enable?: boolean | undefined } | undefined;
  readonly layers?: readonly { readonly deps?: readonly string[] | undefined }[] | undefined;
}

/** @throws OciNixError `invalid-input` where one field of a spec asks for what another one rules out */
export function checkConflicts(spec: Fields, source: string): void {
  const { layers = [], nixDatabase } = spec;
  const splitting = SPLITTING.find((key) => spec[key] !== undefined);
  if (spec.oneLayer === true && splitting !== undefined) {
    throw new OciNixError("invalid-input", `${source}: oneLayer and ${splitting} contradict each other`, {
      hint: "drop one of them: with oneLayer there is exactly one layer on top of those of fromImage",
    });
  }
  if (spec.includeStorePaths !== false) return;
  const without = `${source}: without store paths (includeStorePaths) there can be`;
  if (nixDatabase !== undefined && nixDatabase.enable !== false) {
    throw new OciNixError("invalid-input", `${without} no Nix database, which registers those in the image`, {
      hint: "drop includeStorePaths, or else nixDatabase: a store that is mounted has a database of its own",
    });
  }
  const layer = layers.findIndex(({ deps = [] }) => deps.length > 0);
  if (layer !== -1) {
    throw new OciNixError("invalid-input", `${without} no layers[${layer}]: deps`, { hint: "drop one of the two" });
  }
}
