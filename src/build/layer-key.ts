import { createHash } from "node:crypto";
import { lstatSync } from "node:fs";
import { fsPath } from "../core/byte-string.js";
import type { Digest } from "../core/digest.js";
import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import { type FileTreeOptions, rootPrefix, type SettledPlan } from "./file-tree.js";
import { optionsFor } from "./layer-profile.js";

/** Goes up whenever the same input gives other bytes, or the key says something else. */
const VERSION = 1;

/**
 * A digest of everything that decides a layer's bytes: the tar profile with its version, owner and time, the store paths with their NAR
 * hashes, where they go and who owns them, and what is generated.
 *
 * @param objects what is known of the store paths
 * @param mtime of every entry, in seconds
 * @returns undefined where the bytes are not decided by immutable store paths: a NAR hash is not known, or a store object is not as Nix
 *   leaves it (read-only, of the time 1), so that it may be anything
 */
export function layerKey(
  plan: SettledPlan,
  objects: Closure["objects"],
  options: FileTreeOptions,
  mtime: number,
): Digest | undefined {
  const { storeRoot, profile, owner } = optionsFor(plan, options);
  const prefix = rootPrefix(storeRoot);
  const contents: unknown[] = [];
  for (const { storePath, rewrite, permissions } of plan.contents) {
    const narHash = objects.get(storePath)?.narHash;
    if (narHash === undefined || !isImmutable(prefix, storePath)) return undefined;
    contents.push([storePath, narHash, rewrite ?? null, permissions ?? null]);
  }
  for (const storePath of plan.copied ?? []) {
    const narHash = objects.get(storePath)?.narHash;
    if (narHash === undefined || !isImmutable(prefix, storePath)) return undefined;
    contents.push([storePath, narHash]);
  }
  const parents = [...(plan.parents ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash("sha256");
  hash.update(JSON.stringify([VERSION, profile.name, profile.version, owner, mtime, contents, parents]));
  if (plan.listed !== undefined) {
    const { owners, chunks, chunkLengths } = plan.listed;
    hash.update(JSON.stringify([owners, chunkLengths]));
    for (const [i, chunk] of chunks.entries()) hash.update(Buffer.from(chunk, 0, chunkLengths[i]));
  }
  return `sha256:${hash.digest("hex")}`;
}

function isImmutable(prefix: string, storePath: StorePath): boolean {
  const stat = lstatSync(fsPath(prefix + storePath), { throwIfNoEntry: false });
  // The mode of a symlink says nothing.
  return stat?.mtimeMs === 1000 && (stat.isSymbolicLink() || (stat.mode & 0o222) === 0);
}
