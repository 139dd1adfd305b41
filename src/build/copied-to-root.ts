import { quoteRegex } from "../core/regex.js";
import type { LayerContent, PermissionRule } from "../layers/plan.js";
import type { Closure } from "../nix/closure.js";
import { parseStorePath, type StorePath } from "../nix/store-path.js";
import type { ImageSpec, PermissionSpec } from "./spec.js";

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

/** The permission rules of a spec by store path, in their order. */
export function permissionsOf(
  perms: readonly PermissionSpec[],
  storePathOf: (path: string) => StorePath,
): ReadonlyMap<StorePath, readonly PermissionRule[]> {
  const rules = new Map<StorePath, PermissionRule[]>();
  for (const { path, regex, mode, uid = 0, gid = 0, uname, gname } of perms) {
    const storePath = storePathOf(path);
    const names = { ...(uname === undefined ? {} : { uname }), ...(gname === undefined ? {} : { gname }) };
    const rule = { regex, uid, gid, ...(mode === undefined ? {} : { mode }), ...names };
    rules.set(storePath, [...(rules.get(storePath) ?? []), rule]);
  }
  return rules;
}
