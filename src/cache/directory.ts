import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { OciNixError } from "../core/errors.js";

/**
 * Where the cache is: `override`, else oci-nix in `$XDG_CACHE_HOME`, which counts where it is absolute (XDG Base Directory
 * Specification), else in ~/.cache. Absolute; undefined where the user has no home.
 * @throws OciNixError `usage` where `override` is empty
 */
export function cacheDirectory(override?: string): string | undefined {
  if (override === "")
    throw new OciNixError("usage", "the cache directory has an empty name", { hint: "--cache-dir DIR" });
  if (override !== undefined) return resolve(override);
  const base = process.env.XDG_CACHE_HOME;
  if (base !== undefined && isAbsolute(base)) return join(base, "oci-nix");
  const home = homeDirectory();
  return home === undefined ? undefined : join(home, ".cache", "oci-nix");
}

function homeDirectory(): string | undefined {
  try {
    const home = homedir();
    return isAbsolute(home) ? home : undefined;
  } catch {
    // No HOME, and nothing in the user database.
    return undefined;
  }
}
