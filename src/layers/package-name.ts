import { baseNameOf, type StorePath } from "../nix/store-path.js";

/** A store path's name without its hash. */
export function nameOf(path: StorePath): string {
  const base = baseNameOf(path);
  return base.slice(base.indexOf("-") + 1);
}

/** A store path's name without hash and version, which begins, as for Nix, at the first dash that no letter follows. */
export function packageNameOf(path: StorePath): string {
  const name = nameOf(path);
  const version = /-[^a-zA-Z]/.exec(name);
  return version === null ? name : name.slice(0, version.index);
}
