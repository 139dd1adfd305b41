import { OciNixError } from "../../core/errors.js";
import { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { GeneratedObject } from "../../core/generated-object.js";
import type { Ownership } from "../../core/ownership.js";
import type { LayerPlan } from "../../layers/plan.js";
import { DEFAULT_STORE_DIR, findStorePath, type StorePath } from "../../nix/store-path.js";
import type { ImageSpec } from "../spec.js";
import { joinContents, storePathOfContent } from "./contents.js";
import { addFiles, storePathOfLink } from "./files.js";
import { addHelpers } from "./helpers.js";
import { JoinedTree } from "./joined-tree.js";
import { StoreFiles } from "./store-files.js";

/** Whether there is to be a customisation layer. An image without store paths has one, be it empty, where it would have no layer at all. */
export function isCustomised(spec: ImageSpec): boolean {
  const { contents = [], files = [], helpers = [], copyToRoot = [], layers = [], includeStorePaths = true } = spec;
  if (contents.length + files.length + helpers.length > 0) return true;
  return !includeStorePaths && spec.fromImage === undefined && copyToRoot.length + layers.length === 0;
}

/** The store paths that a spec's `contents` and `files` ask for. @throws OciNixError `invalid-input` */
export function customisationRoots({ contents = [], files = [], closure }: ImageSpec): readonly StorePath[] {
  const roots = contents.map(storePathOfContent);
  const [first] = closure.roots ?? roots;
  const storeDir = closure.storeDir ?? (first && findStorePath(first)?.storeDir) ?? DEFAULT_STORE_DIR;
  return [...roots, ...files.flatMap((file) => storePathOfLink(file, storeDir) ?? [])];
}

/**
 * What a spec's `contents`, `files` and `helpers` amount to: the customisation layer's content. Reads what is copied, and lists `contents`.
 * @throws OciNixError see {@link joinContents}, {@link addFiles} and {@link addHelpers}; `invalid-input` where something leads to a store path
 *   that is not in the image
 */
export async function customise(
  { contents = [], files = [], helpers = [], closure }: ImageSpec,
  image: {
    readonly storeDir: string;
    /** Store paths that are in the image at their own place, or will be where it runs. */
    readonly shipped: ReadonlySet<StorePath>;
    readonly owner: Ownership;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<readonly GeneratedObject[]> {
  const { storeDir, shipped, owner } = image;
  const checkShipped = (path: StorePath, where: string) => {
    if (shipped.has(path)) return;
    throw new OciNixError("invalid-input", `${where} is not in the image, where links would lead to it`, {
      hint: "add it to the roots, and do not exclude it",
    });
  };
  const store = new StoreFiles(closure.storeRoot ?? "/", storeDir);
  const tree = new JoinedTree(store, owner);
  await joinContents(tree, contents, { files: store, checkShipped, owner, turns: new EventLoopTurns(image.signal) });
  addFiles(tree, files, { owner, storeDir });
  for (const [i, file] of files.entries()) {
    const path = storePathOfLink(file, storeDir);
    if (path !== undefined) checkShipped(path, `files[${i}]: ${path}`);
  }
  addHelpers(tree, helpers, { files: store, shipped, owner });
  return tree.objects();
}

/** The layer plan of what {@link customise} gave; while it is not known what that is, of nothing. */
export function customisationLayer(generated: readonly GeneratedObject[]): LayerPlan {
  const reason = "the customisation layer";
  return { contents: [], generated, reason, history: { comment: reason } };
}
