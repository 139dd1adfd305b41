import { nearest, OciNixError } from "../core/errors.js";
import type { TarProfile, TarProfileName } from "./profile.js";
import { DOCKERTOOLS } from "./profiles/dockertools.js";
import { GNU } from "./profiles/gnu.js";
import { NIX2CONTAINER } from "./profiles/nix2container.js";
import { OCI } from "./profiles/oci.js";

export type { TarProfile, TarProfileName } from "./profile.js";

const PROFILES: Readonly<Record<TarProfileName, TarProfile>> = {
  oci: OCI,
  dockertools: DOCKERTOOLS,
  nix2container: NIX2CONTAINER,
};

/** Names of all tar profiles that can be asked for. */
export const TAR_PROFILE_NAMES = Object.keys(PROFILES) as readonly TarProfileName[];

/** The profile of a layer, by the name that it has itself. */
export function layerProfile(name: string): TarProfile {
  return name === GNU.name ? GNU : tarProfile(name);
}

/** The profile of an image. @param where names the origin, for errors. @throws OciNixError `invalid-input` for an unknown name */
export function tarProfile(name: string, where = "tar profile"): TarProfile {
  const found = Object.hasOwn(PROFILES, name) ? PROFILES[name as TarProfileName] : undefined;
  if (found !== undefined) return found;
  const near = nearest(name, TAR_PROFILE_NAMES);
  throw new OciNixError("invalid-input", `${where}: unknown tar profile ${JSON.stringify(name)}`, {
    hint: near === undefined ? `one of ${TAR_PROFILE_NAMES.join(", ")}` : `did you mean ${near}?`,
  });
}
