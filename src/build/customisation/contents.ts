import { type ByteString, encodeUtf8 } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { Ownership } from "../../core/ownership.js";
import { withoutTrailing } from "../../core/trim.js";
import { findStorePath, type StorePath } from "../../nix/store-path.js";
import { walkStore } from "../store-walk.js";
import type { JoinedTree } from "./joined-tree.js";
import type { StoreFiles } from "./store-files.js";

/** What Nix's builders keep in a store path for each other; every package has it, and no image needs it. */
const BUILD_METADATA = "/nix-support";

/** The store path of one of `contents`. @throws OciNixError `invalid-input` */
export function storePathOfContent(path: string): StorePath {
  const found = /\/\.\.?(\/|$)/.test(path) ? undefined : findStorePath(path)?.storePath;
  if (found !== undefined) return found;
  throw new OciNixError("invalid-input", `contents: ${JSON.stringify(path)} is neither a store path nor in one`, {
    hint: "add it to the store first (nix-store --add), or put single files into the image by files",
  });
}

export interface JoinOptions {
  readonly files: StoreFiles;
  /** Throws where a store path is not in the image; see {@link checkShipped}. */
  readonly checkShipped: (path: StorePath, where: string) => void;
  readonly owner: Ownership;
  readonly turns: EventLoopTurns;
}

/**
 * Joins the trees of store paths, or of directories in them, into one: a directory there is a directory here, a file a symlink to it, a symlink
 * one that leads to the same. A store path's `nix-support` is left out.
 * @throws OciNixError `conflict` where two have something different at one place; `invalid-input` for what is no directory; `not-found`; as
 *   {@link walkStore}
 */
export async function joinContents(
  tree: JoinedTree,
  contents: readonly string[],
  { files, checkShipped, owner, turns }: JoinOptions,
): Promise<void> {
  const given = contents.map((path) => withoutTrailing(path, "/"));
  for (const path of [...new Set(given)].sort(compareStrings)) {
    checkShipped(storePathOfContent(path), `contents: ${path}`);
    const start = files.resolve(encodeUtf8(path));
    if (start.type !== "directory") throw notADirectory(path, start.type);
    const storePath = findStorePath(start.path)?.storePath;
    if (storePath !== undefined) checkShipped(storePath, `contents: ${path} leads to ${storePath}, which`);
    const source = files.sourceOf(start.path);
    await walkStore(source, compareStrings, turns, (found) => {
      const place = found.source.slice(source.length);
      if (place === "" || (start.path === storePath && isBuildMetadata(place))) return;
      const common = { path: place, owner, source: path };
      if (found.type === "directory") {
        tree.add({ ...common, type: "directory", mode: 0o755, claim: "none" });
      } else {
        const original = start.path + place;
        const linkTarget = found.type === "symlink" ? joinedTarget(found.linkTarget, place, original) : original;
        tree.add({ ...common, type: "symlink", mode: 0o777, linkTarget, original });
      }
    });
  }
}

/**
 * The target of a store path's symlink in the joined tree. One that leads to a place in the same tree keeps leading there: `sbin -> bin` has in it
 * what all bring along, and is the same in each.
 * @param original where the symlink is in the store
 */
function joinedTarget(target: ByteString, place: ByteString, original: ByteString): ByteString {
  if (target.startsWith("/")) return target;
  const components = target.split("/").filter((name) => name !== "" && name !== ".");
  const down = components.findIndex((name) => name !== "..");
  const ups = down === -1 ? components.length : down;
  const directories = place.split("/").slice(1, -1);
  const there = ["", ...directories.slice(0, directories.length - ups), ...components.slice(ups)];
  // After a symlink to a directory, `..` is not where it seems to be.
  const isInTree = ups <= directories.length && !components.includes("..", ups) && !isBuildMetadata(there.join("/"));
  return isInTree ? target : original;
}

function isBuildMetadata(place: string): boolean {
  return place === BUILD_METADATA || place.startsWith(`${BUILD_METADATA}/`);
}

function notADirectory(path: string, type: "file" | "outside" | "missing"): OciNixError {
  if (type === "missing") {
    return new OciNixError("not-found", `contents: ${path} is not there, or leads nowhere`, {
      hint: "realise it with nix-store --realise, or say with --store-root where the store is",
    });
  }
  const what = type === "file" ? "is a file" : "leads out of the store";
  return new OciNixError("invalid-input", `contents: ${path} ${what}: only the trees of directories can be joined`, {
    hint: `to have one file in the image, use files: {"target": "/…", "link": ${JSON.stringify(path)}}`,
  });
}
