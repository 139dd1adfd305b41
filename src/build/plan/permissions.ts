import type { PermissionRule } from "../../layers/plan.js";
import type { StorePath } from "../../nix/store-path.js";
import type { PermissionSpec } from "../spec/parts.js";

/** A spec's permission rules by store path, each in the order given. @throws OciNixError as `storePathOf` */
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
