import { lstatSync } from "node:fs";
import { fsPath } from "../../core/byte-string.js";
import { type Json, parsePlainJson } from "../../core/json.js";
import { readJsonFile, readTextFile } from "../../core/json-file.js";
import { compileRegex } from "../../core/regex.js";
import { graphOf } from "../../layers/graph.js";
import { nix2containerOrder } from "../../layers/strategies/nix2container.js";
import type { StoreObject } from "../../nix/closure.js";
import { buildClosure } from "../../nix/described-closure.js";
import { describeGraphJson } from "../../nix/graph-json.js";
import type { StorePath } from "../../nix/store-path.js";
import {
  LAYER_MEDIA_TYPE,
  type Nix2containerLayer,
  type Nix2containerPath,
  parseHistory,
  parseNix2containerLayers,
  parsePerms,
  parseRewrites,
  pathKey,
} from "../../transport/nix2container.js";
import { digestLayers } from "../digest.js";
import { rootPrefix } from "../file-tree.js";
import { checkStorePathsExist, type ImagePlan } from "../image-plan.js";
import { layerFile, writeLayerFiles } from "../layer-files.js";
import type { StoreLayer } from "../verify-layer.js";
import { layerContentOf, NIX2CONTAINER_MTIME, nix2containerFiles } from "./content.js";

/** What nix2container's layers commands are given. Files are JSON in its formats. */
export interface Nix2containerLayersRequest {
  /** File: the closure graph, `[{path, references}]`. */
  readonly graph: string;
  /** Layers files whose store paths are left out, where they are there with the same options. */
  readonly parents?: readonly string[] | undefined;
  /** By default 1; where it is not positive, every store path gets a layer of its own. */
  readonly maxLayers?: number | undefined;
  /** A store path that is left out. */
  readonly ignore?: string | undefined;
  /** File. */
  readonly rewrites?: string | undefined;
  /** File. */
  readonly perms?: string | undefined;
  /** File. */
  readonly history?: string | undefined;
  /** Where the layers' archives are kept, as `<digest>.tar`: for what cannot be made a second time. */
  readonly tarDirectory?: string | undefined;
  readonly storeRoot?: string | undefined;
}

/** The layers, bottom first, and notes on what somebody asked for without effect. */
export interface Nix2containerLayersResult {
  readonly layers: readonly Nix2containerLayer[];
  readonly notes: readonly string[];
}

/**
 * Splits a closure into layers as nix2container does, and hashes them. A layer's archive holds its own store paths only.
 * @throws OciNixError for anything wrong with the files, or a store path that is missing or cannot be read
 */
export async function makeNix2containerLayers(
  request: Nix2containerLayersRequest,
  signal?: AbortSignal,
): Promise<Nix2containerLayersResult> {
  const { maxLayers = 1, tarDirectory, storeRoot = "/" } = request;
  const graph = await readGraph(request.graph);
  const { optionsOf, notes } = await readOptions(request, graph);
  const history =
    request.history === undefined ? {} : parseHistory(await readJsonFile(request.history), request.history);
  const parents: Nix2containerLayer[] = [];
  for (const file of request.parents ?? []) parents.push(...parseNix2containerLayers(await readJsonFile(file), file));
  const inParents = new Set(parents.flatMap(({ paths }) => paths).map(pathKey));
  const paths = nix2containerOrder(graphOf({ objects: graph }))
    .filter((path) => path !== request.ignore)
    .map((path): Nix2containerPath => ({ path, ...optionsOf(path) }))
    .filter((path) => !inParents.has(pathKey(path)));
  const groups = split(paths, maxLayers);
  const planned = groups.map((group) => storeLayerOf(group, graph));
  checkStorePathsExist(
    planned.map(({ plan }) => plan),
    storeRoot,
  );
  const plan: ImagePlan = {
    repoTags: [],
    layers: planned,
    files: nix2containerFiles(storeRoot),
    mtime: NIX2CONTAINER_MTIME,
    formatConfig: () => "",
    close: () => undefined,
  };
  const digests =
    tarDirectory === undefined
      ? await digestLayers(plan, { signal })
      : await writeLayerFiles(plan, tarDirectory, signal);
  const layers = digests.map(({ diffId, size }, i) => ({
    ...{ digest: diffId, size, diffId, history },
    paths: groups[i] as readonly Nix2containerPath[],
    mediaType: LAYER_MEDIA_TYPE,
    ...(tarDirectory !== undefined && { layerPath: layerFile(tarDirectory, diffId) }),
  }));
  const { ignore } = request;
  const notIgnored =
    ignore === undefined || graph.has(ignore as StorePath)
      ? []
      : [`${ignore} is not in ${request.graph}: there is nothing to ignore`];
  return { layers, notes: [...notes, ...notIgnored, ...paths.flatMap((path) => notesOnRewrite(path, storeRoot))] };
}

/** The store objects in the order of the file, which nix2container's order depends on; their references likewise. */
async function readGraph(file: string): Promise<ReadonlyMap<StorePath, StoreObject>> {
  const described = describeGraphJson(parsePlainJson(await readTextFile(file), file), file);
  if (described.objects.length === 0) return new Map();
  const { objects } = buildClosure(described, { source: file });
  const references = new Map<string, Set<string>>();
  for (const object of described.objects) {
    const known = references.get(object.path) ?? new Set();
    for (const reference of object.references) known.add(reference);
    references.set(object.path, known);
  }
  return new Map(
    [...references].map(([path, referenced]) => {
      const object = objects.get(path as StorePath) as StoreObject;
      return [object.path, { ...object, references: [...referenced] as StorePath[] }];
    }),
  );
}

type Options = Pick<Nix2containerPath, "options">;

/** Rewrites and permission rules by store path: of several rewrites the last one counts, rules add up. */
async function readOptions(
  request: Nix2containerLayersRequest,
  graph: ReadonlyMap<string, unknown>,
): Promise<{ optionsOf(path: string): Options; readonly notes: readonly string[] }> {
  const read = async <T>(file: string | undefined, parse: (json: Json, source: string) => readonly T[]) =>
    file === undefined ? [] : parse(await readJsonFile(file), file);
  const rewrites = await read(request.rewrites, parseRewrites);
  const perms = await read(request.perms, parsePerms);
  const options = new Map<string, NonNullable<Options["options"]>>();
  for (const { path, ...perm } of perms) {
    const { rewrite, perms: before } = options.get(path) ?? NO_OPTIONS;
    options.set(path, { rewrite, perms: [...before, perm] });
  }
  for (const { path, ...rewrite } of rewrites) {
    options.set(path, { ...(options.get(path) ?? NO_OPTIONS), rewrite });
  }
  return {
    optionsOf(path) {
      const found = options.get(path);
      return found === undefined ? {} : { options: found };
    },
    notes: [...options.keys()]
      .filter((path) => !graph.has(path))
      .map((path) => `${path} is not in ${request.graph}: its rewrite and permission rules have no effect`),
  };
}

const NO_OPTIONS = { rewrite: { regex: "", repl: "" }, perms: [] } as const;

/** The first `maxLayers` − 1 alone, all others together; each alone where `maxLayers` is not positive. */
function split(paths: readonly Nix2containerPath[], maxLayers: number): readonly (readonly Nix2containerPath[])[] {
  const alone = maxLayers <= 0 ? paths.length : Math.min(maxLayers - 1, paths.length);
  const groups = paths.slice(0, alone).map((path) => [path]);
  return alone < paths.length ? [...groups, paths.slice(alone)] : groups;
}

function storeLayerOf(group: readonly Nix2containerPath[], graph: ReadonlyMap<string, StoreObject>): StoreLayer {
  const sizes = group.map(({ path }) => graph.get(path)?.narSize);
  return {
    kind: "store",
    plan: { contents: group.map((path) => layerContentOf(path, "the closure graph")), reason: "" },
    narSize: sizes.reduce((sum, size) => (sum === undefined || size === undefined ? undefined : sum + size), 0),
  };
}

/** What nix2container does not say of a rewrite: that it leaves a file out, or nothing moves. */
function notesOnRewrite({ path, options }: Nix2containerPath, storeRoot: string): readonly string[] {
  const { regex, repl } = options?.rewrite ?? NO_OPTIONS.rewrite;
  if (regex === "") return [];
  const destination = compileRegex(regex, `the rewrite of ${path}`).replaceAll(path, repl);
  if (destination === path) return [`${path} stays where it is: ${JSON.stringify(regex)} does not match it`];
  if (destination !== "" || lstatSync(fsPath(rootPrefix(storeRoot) + path)).isDirectory()) return [];
  return [
    `${path} is a single file, which its rewrite leaves without a name: it is in no layer, as with nix2container`,
  ];
}
