import { type ByteString, encodeUtf8 } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import { compileRegex } from "../core/regex.js";
import type { LayerContent, LayerPlan, PermissionRule } from "../layers/plan.js";
import { DEFAULT_STORE_DIR, storeDirOf } from "../nix/store-path.js";
import { EntryList, type Ownership } from "../tar/entry-list.js";
import type { TarProfile } from "../tar/profiles.js";
import { DestinationTree } from "./destination-tree.js";
import { walkStore } from "./store-walk.js";

export interface FileTreeOptions {
  /** Where the store's files are: `/nix/store/x` is read from `<storeRoot>/nix/store/x`. */
  readonly storeRoot: string;
  readonly profile: TarProfile;
  /** Owner of everything no permission rule speaks of. */
  readonly owner: Ownership;
  readonly signal?: AbortSignal | undefined;
}

/** The owner as entries have it, from text. */
export function ownership(uid: number, gid: number, uname: string, gname: string): Ownership {
  return { uid, gid, uname: encodeUtf8(uname), gname: encodeUtf8(gname) };
}

/**
 * The entries of one layer in the order of its archive, with sizes and modes as the store has them now. Reads no file contents.
 * @throws OciNixError as {@link walkStore}; `conflict` where two contents want one place
 */
export async function layerEntries(plan: LayerPlan, options: FileTreeOptions): Promise<EntryList> {
  const [whole] = layerParts(plan, options.profile, Number.POSITIVE_INFINITY);
  return await partEntries(plan, whole as LayerPart, options);
}

/** A run of a layer's contents, in the order of the archive, that can be listed by itself. */
export interface LayerPart {
  readonly contents: readonly LayerContent[];
  readonly isFirst: boolean;
}

/**
 * Divides a layer into parts whose lists, joined in order, are the layer's. At least one; contents that move are not divided.
 * @param length contents in a part at most
 * @throws OciNixError `conflict` where the layer has a store path twice
 */
export function layerParts(plan: LayerPlan, profile: TarProfile, length: number): readonly LayerPart[] {
  checkNoDuplicates(plan);
  if (moves(plan)) return [{ contents: plan.contents, isFirst: true }];
  const contents =
    profile.storePathOrder === "given"
      ? plan.contents
      : [...plan.contents].sort((a, b) => compareStrings(a.storePath, b.storePath));
  if (contents.length <= length) return [{ contents, isFirst: true }];
  const parts: LayerPart[] = [];
  for (let from = 0; from < contents.length; from += length) {
    parts.push({ contents: contents.slice(from, from + length), isFirst: from === 0 });
  }
  return parts;
}

/** The entries of one part of a layer. @throws OciNixError as {@link layerEntries} */
export async function partEntries(plan: LayerPlan, part: LayerPart, options: FileTreeOptions): Promise<EntryList> {
  return moves(plan) ? await movedEntries(plan, options) : await plainEntries(plan, part, options);
}

function moves(plan: LayerPlan): boolean {
  return plan.contents.some((content) => content.rewrite !== undefined || content.permissions !== undefined);
}

function checkNoDuplicates(plan: LayerPlan): void {
  const seen = new Set<string>();
  for (const { storePath } of plan.contents) {
    if (seen.has(storePath)) throw new OciNixError("conflict", `${storePath} is in one layer twice`);
    seen.add(storePath);
  }
}

/** What stands before a store path to make it a file name: empty for the root itself. */
export function rootPrefix(storeRoot: string): ByteString {
  return encodeUtf8(storeRoot.replace(/\/+$/, ""));
}

/** Store paths where they are: entries go straight from the walk to the list. */
async function plainEntries(plan: LayerPlan, part: LayerPart, options: FileTreeOptions): Promise<EntryList> {
  const { profile, owner } = options;
  const parentOwner = profile.parentOwner ?? owner;
  const entries = new EntryList([owner, parentOwner]);
  const turns = new EventLoopTurns(options.signal);
  const prefix = rootPrefix(options.storeRoot);
  if (part.isFirst) {
    for (const name of parentsOf(plan, profile)) {
      entries.append({ depth: 0, name, type: "directory", mode: 0o755, owner: parentOwner, size: 0, linkTarget: "" });
    }
  }
  for (const { storePath } of part.contents) {
    await walkStore(prefix + storePath, profile.compareNames, turns, (found) => {
      const { depth, name, type, mode, size, linkTarget, source } = found;
      if (depth > 0) entries.append({ depth, name, type, mode, owner, size, linkTarget });
      // Named in full, so that a part does not depend on what comes before it.
      else entries.append({ depth, name: storePath.slice(1), type, mode, owner, size, linkTarget, source });
    });
  }
  return entries;
}

/** The directories that a layer starts with, each named in full. */
function parentsOf(plan: LayerPlan, profile: TarProfile): readonly ByteString[] {
  // A conf.json may have a layer without store paths: it holds the parents alone.
  const [first] = plan.contents;
  const fixed = profile.parents === "always-nix-store" || first === undefined;
  const components = (fixed ? DEFAULT_STORE_DIR : storeDirOf(first.storePath)).slice(1).split("/");
  const parents = components.map((_, i) => components.slice(0, i + 1).join("/"));
  return profile.parents === "root-and-store" ? ["", ...parents] : parents;
}

/** Contents that move or change owner: a tree by destination, then the list. */
async function movedEntries(plan: LayerPlan, options: FileTreeOptions): Promise<EntryList> {
  const { profile, owner } = options;
  const turns = new EventLoopTurns(options.signal);
  const tree = new DestinationTree();
  for (const content of plan.contents) {
    const prefix = rootPrefix(options.storeRoot);
    const destination = destinationOf(content);
    const override = overrideOf(content.permissions ?? [], content.storePath);
    await walkStore(prefix + content.storePath, profile.compareNames, turns, (found) => {
      const logical = found.source.slice(prefix.length);
      const path = destination(logical);
      // nix2container drops what is rewritten to nothing: the moved directory itself, whose place is the root that is there anyway.
      if (path === "") return;
      const { type, size, linkTarget, source } = found;
      tree.place(path, { type, size, linkTarget, source, ...override(logical, found.mode, owner) });
    });
  }
  const entries = new EntryList();
  tree.appendTo(entries, { withRoot: profile.parents === "root-and-store", parents: profile.parentOwner ?? owner });
  return entries;
}

function destinationOf({ rewrite, storePath }: LayerContent): (path: ByteString) => ByteString {
  if (rewrite === undefined) return (path) => path;
  const regex = compileRegex(rewrite.regex, `the rewrite of ${storePath}`);
  return (path) => regex.replaceAll(path, rewrite.replacement);
}

type Override = (
  path: ByteString,
  mode: number,
  owner: Ownership,
) => { readonly mode: number; readonly owner: Ownership };

/** nix2container's order semantics: every rule that matches applies, later ones over earlier ones; ids are always set. */
function overrideOf(rules: readonly PermissionRule[], storePath: string): Override {
  const compiled = rules.map((rule) => ({
    ...rule,
    matches: compileRegex(rule.regex, `a permission rule of ${storePath}`),
  }));
  return (path, mode, owner) => {
    let result = { mode, owner };
    for (const rule of compiled) {
      if (!rule.matches.test(path)) continue;
      const { uname, gname } = result.owner;
      result = {
        mode: rule.mode ?? result.mode,
        owner: {
          uid: rule.uid,
          gid: rule.gid,
          uname: rule.uname === undefined ? uname : encodeUtf8(rule.uname),
          gname: rule.gname === undefined ? gname : encodeUtf8(rule.gname),
        },
      };
    }
    return result;
  };
}
