import { type ByteString, displayBytes, encodeUtf8 } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import type { GeneratedObject, SpecialFile } from "../core/generated-object.js";
import { compileRegex } from "../core/regex.js";
import { withoutTrailing } from "../core/trim.js";
import type { LayerContent, LayerPlan, PermissionRule } from "../layers/plan.js";
import { DEFAULT_STORE_DIR, type StorePath, storeDirOf } from "../nix/store-path.js";
import { EntryList, type EntryListParts, type EntryType, type Ownership } from "../tar/entry-list.js";
import type { TarProfile } from "../tar/profiles.js";
import { type DefaultDirectory, DestinationTree, type Placed, Weight } from "./destination-tree.js";
import { optionsFor } from "./layer-profile.js";
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

/** A layer plan with what is settled for the whole image before any layer is listed by itself; see {@link settleLayers}. */
export interface SettledPlan extends LayerPlan {
  /** Its entries, where they are listed already. */
  readonly listed?: EntryListParts;
  /** Store paths of which it holds copies of files, sorted. */
  readonly copied?: readonly StorePath[];
  /** Mode and owner of directories above the store, by path, where other layers decide them. */
  readonly parents?: ReadonlyMap<ByteString, DefaultDirectory>;
}

/**
 * The entries of one layer in the order of its archive, with sizes and modes as the store has them now. Reads no file contents, unless
 * they have to be compared.
 * @throws OciNixError as {@link walkStore} and {@link DestinationTree}
 */
export async function layerEntries(plan: SettledPlan, options: FileTreeOptions): Promise<EntryList> {
  const [whole] = layerParts(plan, options, Number.POSITIVE_INFINITY);
  return await partEntries(plan, whole as LayerPart, options);
}

/** A run of a layer's contents, in the order of the archive, that can be listed by itself. */
export interface LayerPart {
  readonly contents: readonly LayerContent[];
  readonly isFirst: boolean;
}

/**
 * Divides a layer into parts whose lists, joined in order, are the layer's. At least one; only store paths at their own place are divided.
 * @param length contents in a part at most
 * @throws OciNixError `conflict` where the layer has a store path twice
 */
export function layerParts(
  plan: SettledPlan,
  options: Pick<FileTreeOptions, "profile">,
  length: number,
): readonly LayerPart[] {
  const { profile } = optionsFor(plan, options);
  if (plan.listed !== undefined || needsTree(plan)) return [{ contents: plan.contents, isFirst: true }];
  checkNoDuplicates(plan);
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
export async function partEntries(plan: SettledPlan, part: LayerPart, options: FileTreeOptions): Promise<EntryList> {
  if (plan.listed !== undefined) return EntryList.join([plan.listed]);
  const own = optionsFor(plan, options);
  if (!needsTree(plan)) return await plainEntries(plan, part, own);
  const tree = await treeOf([plan], own);
  return await entriesFrom(tree, 0, own);
}

function needsTree({ contents, generated }: LayerPlan): boolean {
  return (
    // Even where it turned out to be nothing: such a layer is empty.
    generated !== undefined ||
    contents.some(({ rewrite, permissions }) => rewrite !== undefined || permissions !== undefined)
  );
}

/**
 * Settles between all layers of an image who wins where contents that move meet each other, or a store path that stays. The layers that
 * hold such contents are listed; of the others only mode and owner of the directories above the store may change.
 * @throws OciNixError as {@link layerEntries}, and `conflict` where a layer would hide what another one holds
 */
export async function settleLayers(
  plans: readonly LayerPlan[],
  options: FileTreeOptions,
): Promise<readonly SettledPlan[]> {
  if (!plans.some(needsTree)) return plans;
  const tree = await treeOf(plans, options);
  const parents = new Map<ByteString, DefaultDirectory>();
  for (const name of new Set(plans.flatMap((plan) => parentsOf(plan, optionsFor(plan, options).profile)))) {
    const placed = tree.directoryAt(name);
    if (placed !== undefined) parents.set(name, placed);
  }
  const settled: SettledPlan[] = [];
  for (const [layer, plan] of plans.entries()) {
    const { generated: _, ...bare } = { ...plan, ...copiedIn(plan) };
    const own = optionsFor(plan, options);
    if (needsTree(plan)) settled.push({ ...bare, listed: (await entriesFrom(tree, layer, own)).parts });
    else settled.push(parents.size === 0 ? plan : { ...plan, parents });
  }
  return settled;
}

function copiedIn({ generated = [] }: LayerPlan): Pick<SettledPlan, "copied"> {
  const copied = generated.flatMap((object) => ("copyOf" in object && object.copiedFrom ? [object.copiedFrom] : []));
  return copied.length === 0 ? {} : { copied: [...new Set(copied as StorePath[])].sort(compareStrings) };
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
  return encodeUtf8(withoutTrailing(storeRoot, "/"));
}

/** Store paths where they are: entries go straight from the walk to the list. */
async function plainEntries(plan: SettledPlan, part: LayerPart, options: FileTreeOptions): Promise<EntryList> {
  const { profile, owner } = options;
  const parentOwner = profile.parentOwner ?? owner;
  const parents = [...(plan.parents?.values() ?? [])];
  const entries = new EntryList([owner, parentOwner, ...parents.map((parent) => parent.owner)]);
  const turns = new EventLoopTurns(options.signal);
  const prefix = rootPrefix(options.storeRoot);
  if (part.isFirst) {
    for (const name of parentsOf(plan, profile)) {
      const { mode, owner } = plan.parents?.get(name) ?? { mode: 0o755, owner: parentOwner };
      entries.append({ depth: 0, name, type: "directory", mode, owner, size: 0, linkTarget: "" });
    }
  }
  for (const { storePath } of part.contents) {
    await walkStore(prefix + storePath, profile.compareNames, turns, (found) => {
      const { depth, name, type, mode, size, linkTarget, source } = found;
      if (!isModeOfNix(type, mode)) entries.isSettled = false;
      if (depth > 0) entries.append({ depth, name, type, mode, owner, size, linkTarget });
      // Named in full, so that a part does not depend on what comes before it.
      else entries.append({ depth, name: storePath.slice(1), type, mode, owner, size, linkTarget, source });
    });
  }
  return entries;
}

/** NAR hashes know of modes only whether a file is executable. Nix makes all others equal; what something else made may change. */
function isModeOfNix(type: EntryType, mode: number): boolean {
  return type === "symlink" || mode === 0o555 || (mode === 0o444 && type === "file");
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

/** The contents of several layers by where they go. */
async function treeOf(plans: readonly LayerPlan[], options: FileTreeOptions): Promise<DestinationTree> {
  const { owner } = options;
  const turns = new EventLoopTurns(options.signal);
  const prefix = rootPrefix(options.storeRoot);
  const tree = new DestinationTree();
  for (const [layer, plan] of plans.entries()) {
    const { profile } = optionsFor(plan, options);
    for (const { storePath, rewrite, permissions } of plan.contents) {
      if (rewrite !== undefined) continue;
      const override = overrideOf(permissions ?? [], storePath);
      tree.placeSubtree(layer, storePath, {
        start: prefix + storePath,
        attributesOf: ({ source, mode }) => override(source.slice(prefix.length), mode, owner),
        walk: async (visit) => await walkStore(prefix + storePath, profile.compareNames, turns, visit),
      });
    }
  }
  for (const [layer, { contents, generated = [] }] of plans.entries()) {
    for (const content of contents) {
      if (content.rewrite === undefined) continue;
      const destination = destinationOf(content);
      const override = overrideOf(content.permissions ?? [], content.storePath);
      await walkStore(prefix + content.storePath, compareStrings, turns, (found) => {
        const logical = found.source.slice(prefix.length);
        const path = destination(logical);
        const { type, size, linkTarget, source } = found;
        // The moved directory itself, whose place is the root that is there anyway; nothing else can be the root.
        if (path === "" && (type === "directory" || content.rewrite?.leavesOut === true)) return;
        if (path === "") throw notADirectory(content.storePath, logical, type);
        if (!path.startsWith("/")) throw notAbsolute(content.storePath, logical, path);
        tree.place(layer, path, { type, size, linkTarget, source, ...override(logical, found.mode, owner) });
      });
    }
    for (const object of generated) {
      const { path, type, mode, owner } = object;
      const linkTarget = object.type === "symlink" ? object.linkTarget : "";
      const device = "device" in object ? object.device : undefined;
      const placed = { type, mode, owner, linkTarget, device, ...contentsOf(object) };
      tree.place(layer, path, { ...placed, weight: weightOf(object) });
    }
  }
  return tree;
}

/** What errors call the origin of what is read nowhere. */
const GENERATED = "what oci-nix adds";

function contentsOf(object: GeneratedObject | SpecialFile): Pick<Placed, "source" | "size" | "contents"> {
  if ("copyOf" in object) return { source: object.copyOf, size: object.size };
  const contents = object.type === "file" ? object.contents : undefined;
  const source = object.source === undefined ? GENERATED : encodeUtf8(object.source);
  return { source, size: contents?.length ?? 0, contents };
}

function weightOf(object: GeneratedObject | SpecialFile): Weight {
  if (object.type !== "directory") return Weight.generated;
  return { none: Weight.cameAlong, firm: Weight.ruled, default: Weight.generated }[object.claim ?? "default"];
}

async function entriesFrom(tree: DestinationTree, layer: number, options: FileTreeOptions): Promise<EntryList> {
  const { profile, owner } = options;
  const entries = new EntryList();
  const parents = { mode: 0o755, owner: profile.parentOwner ?? owner };
  await tree.appendTo(entries, layer, { withRoot: profile.parents === "root-and-store", parents });
  return entries;
}

function notADirectory(storePath: string, path: ByteString, type: EntryType): OciNixError {
  return new OciNixError(
    "invalid-input",
    `${displayBytes(path)} is a ${type}: only a directory can become the root of the image`,
    {
      hint:
        path === storePath
          ? "give a store path that is a directory with the file in it, for example made by symlinkJoin or runCommand"
          : "let the rewrite leave a name for it",
    },
  );
}

function notAbsolute(storePath: string, path: ByteString, destination: ByteString): OciNixError {
  return new OciNixError(
    "invalid-input",
    `the rewrite of ${storePath} moves ${displayBytes(path)} to ${displayBytes(destination)}, which is no absolute path`,
    { hint: "let the replacement begin with /" },
  );
}

function destinationOf({ rewrite, storePath }: LayerContent): (path: ByteString) => ByteString {
  if (rewrite === undefined) return (path) => path;
  const regex = compileRegex(rewrite.regex, `the rewrite of ${storePath}`);
  return (path) => regex.replaceAll(path, rewrite.replacement);
}

type Override = (path: ByteString, mode: number, owner: Ownership) => Pick<Placed, "mode" | "owner" | "weight">;

/** nix2container's order semantics: every rule that matches applies, later ones over earlier ones; ids are always set. */
function overrideOf(rules: readonly PermissionRule[], storePath: string): Override {
  const compiled = rules.map((rule) => ({
    ...rule,
    matches: compileRegex(rule.regex, `a permission rule of ${storePath}`),
  }));
  // Owners are few and entries are many: each is made once, and a list tells them apart by identity first.
  const owners = new Map<string, Ownership>();
  return (path, mode, owner) => {
    let result: ReturnType<Override> = { mode, owner, weight: Weight.cameAlong };
    for (const rule of compiled) {
      if (!rule.matches.test(path)) continue;
      const { uid, gid } = rule;
      const uname = rule.uname === undefined ? result.owner.uname : encodeUtf8(rule.uname);
      const gname = rule.gname === undefined ? result.owner.gname : encodeUtf8(rule.gname);
      const key = JSON.stringify([uid, gid, uname, gname]);
      const known = owners.get(key) ?? { uid, gid, uname, gname };
      owners.set(key, known);
      result = { mode: rule.mode ?? result.mode, owner: known, weight: Weight.ruled };
    }
    return result;
  };
}
