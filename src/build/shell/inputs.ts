import { lstatSync } from "node:fs";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import { withoutTrailing } from "../../core/trim.js";
import { type Derivation, readDerivation } from "../../nix/derivation.js";
import type { StorePath } from "../../nix/store-path.js";

/**
 * The store paths that a derivation's builder may see without what these refer to: its sources, and the outputs of other derivations that
 * it names. Sorted as in the derivation.
 * @throws OciNixError `not-found` for one that is not built, or whose derivation is gone; `invalid-input` for an output that
 *   its derivation does not have; `unsupported` where nobody can tell its path; otherwise as `readDerivation`
 */
export function inputPaths(derivation: Derivation, storeRoot: string): readonly StorePath[] {
  const built = derivation.inputDerivations.flatMap(({ path, outputs }) => {
    const known = outputsOf(path, storeRoot);
    return outputs.map((name) => {
      const output = known.get(name);
      if (!known.has(name)) throw new OciNixError("invalid-input", `the derivation ${path} has no output ${name}`);
      if (output === undefined) throw contentAddressed(`the output ${name} of ${path}`);
      const build = `nix-store --realise ${path}`;
      if (!isThere(output, storeRoot)) throw missing(output, `the output ${name} of ${path}`, build);
      return output;
    });
  });
  for (const source of derivation.inputSources) {
    if (!isThere(source, storeRoot)) throw missing(source, "a source", `nix-store --realise ${source}`);
  }
  return [...built, ...derivation.inputSources];
}

/** What is wrong with an output whose path no derivation tells. */
export function contentAddressed(what: string): OciNixError {
  return new OciNixError("unsupported", `${what} is content-addressed: its path is known only once it is built`, {
    hint: "build the derivation without __contentAddressed",
  });
}

function outputsOf(path: StorePath, storeRoot: string): ReadonlyMap<string, StorePath | undefined> {
  try {
    return new Map(readDerivation(path, storeRoot).outputs.map((output) => [output.name, output.path]));
  } catch (error) {
    if (!(error instanceof OciNixError) || error.code !== "not-found") throw error;
    throw new OciNixError("not-found", `${error.message}, which tells where an input is`, {
      hint: "evaluate the Nix expression again, with nix-instantiate for example, and Nix writes it again",
      cause: error.cause,
    });
  }
}

function isThere(path: StorePath, storeRoot: string): boolean {
  const file = withoutTrailing(storeRoot, "/") + path;
  try {
    lstatSync(file);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw new OciNixError("unreadable", `cannot look at ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

function missing(path: StorePath, what: string, build: string): OciNixError {
  return new OciNixError("not-found", `${path}, ${what}, is an input of the derivation and not in the store`, {
    hint: `build or fetch it first: ${build}`,
  });
}
