import { atPlace } from "../../core/errors.js";
import type { LayerContent, PermissionRule } from "../../layers/plan.js";
import { parseStorePath, type StorePath } from "../../nix/store-path.js";
import { tarProfile } from "../../tar/profiles.js";
import type { Nix2containerPath, Nix2containerPerm } from "../../transport/nix2container.js";
import { type FileTreeOptions, ownership } from "../file-tree.js";

/** Modification time of everything in nix2container's layers. */
export const NIX2CONTAINER_MTIME = 1;

/** How the files of nix2container's layers are written. */
export function nix2containerFiles(storeRoot: string): Omit<FileTreeOptions, "signal"> {
  return { storeRoot, profile: tarProfile("nix2container"), owner: ownership(0, 0, "root", "root") };
}

/** A layer's content as nix2container's files describe it. @param where names it, for errors. @throws OciNixError `invalid-input` */
export function layerContentOf({ path, options }: Nix2containerPath, where: string): LayerContent {
  const storePath = storePathAt(path, where);
  if (options === undefined) return { storePath };
  const { rewrite, perms } = options;
  return {
    storePath,
    ...(rewrite.regex !== "" && { rewrite: { regex: rewrite.regex, replacement: rewrite.repl, leavesOut: true } }),
    ...(perms.length > 0 && { permissions: perms.map(permissionRuleOf) }),
  };
}

function storePathAt(path: string, where: string): StorePath {
  return atPlace(where, () => parseStorePath(path, path.replace(/\/[^/]*$/, "")));
}

function permissionRuleOf({ regex, mode, uid, gid, uname, gname }: Nix2containerPerm): PermissionRule {
  return {
    ...{ regex, uid, gid },
    ...(mode !== "" && { mode: Number.parseInt(mode, 8) }),
    ...(uname !== "" && { uname }),
    ...(gname !== "" && { gname }),
  };
}
