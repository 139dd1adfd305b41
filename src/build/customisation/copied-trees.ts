import { type ByteString, displayBytes, encodeUtf8 } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import { findStorePath, type StorePath } from "../../nix/store-path.js";
import { type Found, walkStore } from "../store-walk.js";
import type { JoinOptions } from "./contents.js";
import type { JoinedTree } from "./joined-tree.js";
import { throughDirlinks } from "./through-dirlinks.js";

/** Of what is copied by way of symlinks to directories, which can multiply without end in sight. */
const MAX_BY_LINKS = 250_000;

/**
 * Copies the trees of store paths to the root, as nixpkgs' buildImage does by rsync: without `keepsDirlinks` as by `-ak`, a symlink to a
 * directory becoming that directory; with it as by `-aK`, symlinks staying what they are, and a directory that meets one of an earlier tree
 * going into the directory that it leads to. Other symlinks stay as they are. Nothing is read of files that do not meet.
 * @param storePaths in the order in which they are copied
 * @throws OciNixError `conflict` where two have something different at one place; `invalid-input` for what is no directory;
 *   `unsupported` for a symlink to a directory that it is in; `limit` where such symlinks multiply what there is to copy; `not-found`; as
 *   {@link walkStore}
 */
export async function copyTrees(
  tree: JoinedTree,
  storePaths: readonly StorePath[],
  { files, checkShipped, owner, turns, keepsDirlinks }: JoinOptions & { readonly keepsDirlinks: boolean },
): Promise<void> {
  let left = MAX_BY_LINKS;
  for (const storePath of new Set(storePaths)) {
    const top = files.resolve(encodeUtf8(storePath));
    if (top.type !== "directory") throw notADirectory(storePath, top.type);
    // With the symlinks to directories that led to it.
    const copy = async (start: ByteString, to: ByteString, links: readonly ByteString[]): Promise<void> => {
      const source = files.sourceOf(start);
      const copiedFrom = findStorePath(start)?.storePath;
      const deferred: (() => Promise<void>)[] = [];
      /** Where directories of the tree go, where that is not their own place. */
      const elsewhere = new Map<ByteString, ByteString>();
      const add = (found: Found): void => {
        const below = found.source.slice(source.length);
        if (below === "" && to === "") return;
        if (links.length > 0 && --left < 0) throw tooMany(storePath);
        const slash = below.lastIndexOf("/");
        const path =
          below === "" ? to : (elsewhere.get(below.slice(0, slash)) ?? to + below.slice(0, slash)) + below.slice(slash);
        const common = { path, owner, source: storePath };
        if (found.type === "directory") {
          const place = keepsDirlinks ? throughDirlinks(tree, path) : path;
          if (place !== to + below) elsewhere.set(below, place);
          tree.add({ ...common, path: place, type: "directory", mode: found.mode, claim: "none" });
        } else if (found.type === "file") {
          const { mode, size, source: copyOf } = found;
          tree.add({
            ...common,
            type: "file",
            mode,
            size,
            copyOf,
            ...(copiedFrom === undefined ? {} : { copiedFrom }),
          });
        } else {
          const link = start + below;
          const leadsTo = keepsDirlinks ? undefined : files.resolve(link);
          if (leadsTo?.type === "directory") {
            const way = [...links, link];
            if (way.some((passed) => passed.startsWith(`${leadsTo.path}/`))) throw endless(link, leadsTo.path);
            deferred.push(() => copy(leadsTo.path, path, way));
          } else {
            const target = found.linkTarget.startsWith("/") ? findStorePath(found.linkTarget)?.storePath : undefined;
            if (target !== undefined)
              checkShipped(target, `copyToRoot: ${displayBytes(link)} leads to ${target}, which`);
            tree.add({ ...common, type: "symlink", mode: 0o777, linkTarget: found.linkTarget });
          }
        }
      };
      await walkStore(source, compareStrings, turns, add);
      for (const copyDirectory of deferred) await copyDirectory();
    };
    await copy(top.path, "", []);
  }
}

function tooMany(storePath: string): OciNixError {
  return new OciNixError(
    "limit",
    `copyToRoot: symlinks to directories, of ${storePath} for example, bring more than ${MAX_BY_LINKS} files to the root`,
    {
      hint: "keepContentsDirlinks: true keeps symlinks to directories instead of copying what they lead to",
    },
  );
}

function endless(link: ByteString, directory: ByteString): OciNixError {
  return new OciNixError(
    "unsupported",
    `copyToRoot: ${displayBytes(link)} leads to ${displayBytes(directory)}, which it is in: to copy it would have no end`,
    { hint: "keepContentsDirlinks: true keeps symlinks to directories as they are" },
  );
}

function notADirectory(storePath: string, type: "file" | "outside" | "missing"): OciNixError {
  if (type === "missing") {
    return new OciNixError("not-found", `copyToRoot: ${storePath} is not there, or leads nowhere`, {
      hint: "realise it with nix-store --realise, or say with --store-root where the store is",
    });
  }
  const what = type === "file" ? "is a file" : "leads out of the store";
  return new OciNixError("invalid-input", `copyToRoot: ${storePath} ${what}: only a directory can become the root`, {
    hint: "give a store path that is a directory with the file in it, for example made by symlinkJoin or runCommand",
  });
}
