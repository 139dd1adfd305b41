import { OciNixError } from "../../core/errors.js";
import { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { GeneratedObject, SpecialFile } from "../../core/generated-object.js";
import type { Ownership } from "../../core/ownership.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { Closure, StoreObject } from "../../nix/closure.js";
import { DEFAULT_STORE_DIR, findStorePath, parseStorePath, type StorePath } from "../../nix/store-path.js";
import type { ImageSpec } from "../spec/spec.js";
import { joinContents, storePathOfContent } from "./contents.js";
import { copyTrees } from "./copied-trees.js";
import { addFiles, storePathOfLink } from "./files.js";
import { addHelpers } from "./helpers.js";
import { JoinedTree } from "./joined-tree.js";
import { StoreFiles } from "./store-files.js";

/** Whether there is to be a customisation layer. An image without store paths has one, be it empty, where it would have no layer at all. */
export function isCustomised(spec: ImageSpec): boolean {
  const { contents = [], files = [], helpers = [], copyToRoot = [], layers = [] } = spec;
  if (contents.length + files.length + helpers.length + copiedTrees(spec).length > 0 || hasCommands(spec)) return true;
  const { roots, graph } = spec.closure;
  const isStoreless =
    spec.includeStorePaths === false || (roots ?? (graph === undefined ? [] : undefined))?.length === 0;
  return isStoreless && spec.fromImage === undefined && copyToRoot.length + layers.length === 0;
}

/** The store paths of a spec's `copyToRoot` that are copied as buildImage does; else layers hold them, as nix2container does. */
export function copiedTrees(spec: Pick<ImageSpec, "copyToRoot" | "keepContentsDirlinks">): readonly string[] {
  return spec.keepContentsDirlinks === undefined ? [] : (spec.copyToRoot ?? []);
}

/** Whether the customisation layer is what commands make of it. */
export function hasCommands(spec: ImageSpec): boolean {
  return hasScripts(spec) || spec.runAsRoot !== undefined;
}

/** Whether there are commands that run in a sandbox. */
export function hasScripts({ extraCommands, fakeRootCommands }: ImageSpec): boolean {
  return extraCommands !== undefined || fakeRootCommands !== undefined;
}

/** The store paths that a spec's `contents` and `files` ask for. @throws OciNixError `invalid-input` */
export function customisationRoots({ contents = [], files = [], closure }: ImageSpec): readonly StorePath[] {
  const roots = contents.map(storePathOfContent);
  const [first] = closure.roots ?? roots;
  const storeDir = closure.storeDir ?? (first && findStorePath(first)?.storeDir) ?? DEFAULT_STORE_DIR;
  return [...roots, ...files.flatMap((file) => storePathOfLink(file, storeDir) ?? [])];
}

/** The store objects that an image without store paths expects in the store that is mounted. */
export function mounted({ exclude = [] }: ImageSpec, closure: Closure): readonly StoreObject[] {
  const excluded = new Set(exclude.map((path) => parseStorePath(path, closure.storeDir)));
  return [...closure.objects.values()].filter(({ path }) => !excluded.has(path));
}

/**
 * What a spec's `contents`, `files` and `helpers` amount to, and `copyToRoot` where it is copied as buildImage does: the customisation layer's
 * content. Reads what `files` copy, and lists `contents` and `copyToRoot`.
 * @throws OciNixError see {@link copyTrees}, {@link joinContents}, {@link addFiles} and {@link addHelpers}; `invalid-input` where something leads to a store path
 *   that is not in the image
 */
export async function customise(
  spec: ImageSpec,
  image: {
    readonly storeDir: string;
    /** Store paths that are in the image at their own place, or will be where it runs. */
    readonly shipped: ReadonlySet<StorePath>;
    readonly owner: Ownership;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<readonly GeneratedObject[]> {
  const { contents = [], files = [], helpers = [], exclude = [], closure } = spec;
  const { storeDir, shipped, owner } = image;
  const checkShipped = (path: StorePath, where: string) => {
    if (shipped.has(path)) return;
    throw new OciNixError("invalid-input", `${where} is not in the image, where links would lead to it`, {
      hint: "add it to the roots, and do not exclude it",
    });
  };
  const store = new StoreFiles(closure.storeRoot ?? "/", storeDir);
  const tree = new JoinedTree(store, owner);
  const options = { files: store, checkShipped, owner, turns: new EventLoopTurns(image.signal) };
  const copied = copiedTrees(spec).filter((path) => !exclude.includes(path));
  await copyTrees(
    tree,
    copied.map((path) => parseStorePath(path, storeDir)),
    { ...options, keepsDirlinks: spec.keepContentsDirlinks === true },
  );
  await joinContents(tree, contents, options);
  addFiles(tree, files, { owner, storeDir });
  for (const [i, file] of files.entries()) {
    const path = storePathOfLink(file, storeDir);
    if (path !== undefined) checkShipped(path, `files[${i}]: ${path}`);
  }
  addHelpers(tree, helpers, { files: store, shipped, owner });
  return tree.objects();
}

/** The layer plan of what {@link customise} gave; while it is not known what that is, of nothing. */
export function customisationLayer(generated: readonly (GeneratedObject | SpecialFile)[]): LayerPlan {
  const reason = "the customisation layer";
  return { contents: [], generated, reason, history: { comment: reason } };
}
