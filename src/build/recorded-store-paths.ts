import { compareStrings } from "../core/errors.js";
import { isJsonObject, type Json } from "../core/json.js";
import type { LayerPlan } from "../layers/plan.js";
import type { PreviousLayer } from "../layers/previous.js";
import { baseNameOf, DEFAULT_STORE_DIR, findStorePath, type StorePath, storeDirOf } from "../nix/store-path.js";
import { changedStorePathsComment, parseStorePathsComment, storePathsComment } from "../oci/image.js";
import { STORE_DIR_ANNOTATION, STORE_PATHS_ANNOTATION } from "../oci/manifest.js";
import type { StoredImage } from "../transport/image.js";
import { parseDocument } from "../transport/stored-files.js";
import { type PlannedLayer, pathsOf } from "./image-plan.js";

type Annotations = Readonly<Record<string, string>>;

/** Registries refuse manifests of more than 4 MiB. */
const MAX_ANNOTATIONS = 2 * 1024 * 1024;

/**
 * What manifests say of each layer's store paths; nothing of layers that are made of something else. Where all of it together would be more
 * than 2 MiB nothing is said: the history lists the paths as well.
 */
export function storePathsAnnotations(layers: readonly PlannedLayer[]): readonly Annotations[] {
  const annotations = layers.map((layer) => (layer.kind === "store" ? annotationsOf(layer.plan) : {}));
  const size = annotations.flatMap((each) => Object.values(each)).reduce((sum, { length }) => sum + length, 0);
  return size > MAX_ANNOTATIONS ? annotations.map(() => ({})) : annotations;
}

function annotationsOf(plan: LayerPlan): Annotations {
  const paths = plan.contents.map(({ storePath }) => storePath);
  const [storeDir, ...otherDirs] = new Set(paths.map(storeDirOf));
  if (storeDir === undefined || otherDirs.length > 0 || !isPlain(plan)) return { [STORE_PATHS_ANNOTATION]: "" };
  const names = paths.map(baseNameOf).sort(compareStrings).join(" ");
  return {
    ...(storeDir === DEFAULT_STORE_DIR ? {} : { [STORE_DIR_ANNOTATION]: storeDir }),
    [STORE_PATHS_ANNOTATION]: names,
  };
}

/** What the history says of a layer's store paths, where the plan says nothing else. */
export function historyComment(layer: PlannedLayer): string {
  const isAsItSays = layer.kind === "ready" || isPlain(layer.plan);
  return (isAsItSays ? storePathsComment : changedStorePathsComment)(pathsOf(layer));
}

/** Whether a layer holds store paths at their own place, as they are, and nothing else. */
function isPlain({ contents, generated = [] }: LayerPlan): boolean {
  const isChanged = contents.some(({ rewrite, permissions }) => rewrite !== undefined || permissions !== undefined);
  return generated.length === 0 && !isChanged;
}

/** What an image's documents say of one layer. */
export interface DocumentedLayer {
  readonly annotations?: Annotations | undefined;
  /** Of its history entry. */
  readonly comment?: string | undefined;
  readonly size?: number | undefined;
}

/**
 * What an image says of its layers, bottom first.
 * @param source what errors call it
 * @throws OciNixError `invalid-input` where its config is no JSON
 */
export function documentedLayersOf({ config, layers }: StoredImage, source: string): readonly DocumentedLayer[] {
  const history = layerHistory(parseDocument(config.bytes, `the config of ${source}`));
  return layers.map(({ descriptor, blob }, i) => ({
    annotations: descriptor?.annotations,
    // Which entry speaks of which layer is only known where there are as many.
    comment: history.length === layers.length ? commentOf(history[i], "comment") : undefined,
    size: descriptor?.size ?? blob.size,
  }));
}

/** The entries of an image config's history that speak of layers. */
export function layerHistory(config: Json): readonly Json[] {
  const history = isJsonObject(config) ? config.get("history") : undefined;
  if (!Array.isArray(history)) return [];
  return history.filter((entry: Json) => !isJsonObject(entry) || entry.get("empty_layer") !== true);
}

/** A text of a history entry. */
export function commentOf(entry: Json | undefined, key: string): string | undefined {
  const comment = isJsonObject(entry) ? entry.get(key) : undefined;
  return typeof comment === "string" ? comment : undefined;
}

/**
 * The layers, each with its paths sorted, of which documents say which store paths they hold, all at their own place and as they are. An annotation counts more than
 * the history. Left out are layers of which something else is said, or nothing that can be understood, and layers that hold what a lower
 * one holds: no plan has those.
 * @returns undefined where nothing is said of any layer
 */
export function recordedLayers(layers: readonly DocumentedLayer[]): readonly PreviousLayer[] | undefined {
  const recorded: PreviousLayer[] = [];
  const held = new Set<StorePath>();
  let isSaid = false;
  for (const { annotations, comment, size } of layers) {
    const paths = annotatedPaths(annotations) ?? commentedPaths(comment);
    if (paths === undefined) continue;
    isSaid = true;
    const storePaths = [...new Set(paths)].sort(compareStrings);
    if (storePaths.length === 0 || !storePaths.every(isStorePath) || storePaths.some((path) => held.has(path)))
      continue;
    for (const path of storePaths) held.add(path);
    recorded.push({ storePaths, size });
  }
  return isSaid ? recorded : undefined;
}

function annotatedPaths(annotations: Annotations = {}): readonly string[] | undefined {
  const names = annotations[STORE_PATHS_ANNOTATION];
  if (names === undefined) return undefined;
  if (names === "") return [];
  const storeDir = annotations[STORE_DIR_ANNOTATION] ?? DEFAULT_STORE_DIR;
  return names.split(" ").map((name) => `${storeDir}/${name}`);
}

function commentedPaths(comment: string | undefined): readonly string[] | undefined {
  const listed = comment === undefined ? undefined : parseStorePathsComment(comment);
  if (listed === undefined) return undefined;
  // dockerTools calls its customisation layer by the store path that has the layer's archive in it.
  const isCustomisation = listed.paths.length === 1 && listed.paths[0]?.endsWith("-customisation-layer");
  return listed.changed || isCustomisation ? [] : listed.paths;
}

function isStorePath(path: string): path is StorePath {
  // Of megabytes the expression would exhaust the stack.
  return path.length <= MAX_PATH && /^(?:\/[^/\p{C}]+)+$/u.test(path) && findStorePath(path)?.storePath === path;
}

/** Longest path that Linux takes. */
const MAX_PATH = 4095;
