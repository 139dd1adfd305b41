import { quoteRegex } from "../../core/regex.js";
import type { LayerContent } from "../../layers/plan.js";
import type { Closure } from "../../nix/closure.js";
import { parseStorePath } from "../../nix/store-path.js";
import type { ImageSpec } from "../spec/spec.js";
import { permissionsOf } from "./permissions.js";

/** What a spec's own `copyToRoot` asks for, with its permissions. */
export function copiedToRoot(
  { copyToRoot = [], perms = [] }: ImageSpec,
  { storeDir }: Closure,
): readonly LayerContent[] {
  const permissions = permissionsOf(perms, (path) => parseStorePath(path, storeDir));
  return [...new Set(copyToRoot)].map((path) => {
    const storePath = parseStorePath(path, storeDir);
    const rules = permissions.get(storePath);
    const rewrite = { regex: `^${quoteRegex(path)}`, replacement: "" };
    return { storePath, rewrite, ...(rules === undefined ? {} : { permissions: rules }) };
  });
}
