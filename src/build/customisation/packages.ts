import { encodeUtf8 } from "../../core/byte-string.js";
import { compareStrings } from "../../core/errors.js";
import { packageNameOf } from "../../layers/package-name.js";
import type { StorePath } from "../../nix/store-path.js";
import type { StoreFiles } from "./store-files.js";

/** A file that is needed of some package. The first name that there is counts. */
export interface Wanted {
  readonly packages: readonly string[];
  readonly file: string;
}

// nixpkgs calls a bash that one can type into bash-interactive, and has the shell without in nearly every closure.
export const BASH: Wanted = { packages: ["bash-interactive", "bash"], file: "bin/bash" };
export const ENV: Wanted = { packages: ["coreutils", "coreutils-full"], file: "bin/env" };
export const CERTIFICATES: Wanted = { packages: ["nss-cacert", "cacert"], file: "etc/ssl/certs/ca-bundle.crt" };

/** Which store paths are of the package, and which of these, of the first name only, have the file; both sorted. */
export function lookFor(
  { packages, file }: Wanted,
  storePaths: Iterable<StorePath>,
  files: StoreFiles,
): { readonly named: readonly StorePath[]; readonly having: readonly StorePath[] } {
  const named = [...storePaths].filter((path) => packages.includes(packageNameOf(path))).sort(compareStrings);
  const having = named.filter((path) => files.resolve(encodeUtf8(`${path}/${file}`)).type === "file");
  const first = packages.find((name) => having.some((path) => packageNameOf(path) === name));
  return { named, having: having.filter((path) => packageNameOf(path) === first) };
}
