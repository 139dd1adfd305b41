import { join } from "node:path";
import type { BlobSource } from "../../core/blob.js";
import { parseDigest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { copyRange, openForReading, readRange } from "../../core/file-range.js";
import { isJsonObject, type Json, JsonNumber, type JsonObject, wrong } from "../../core/json.js";
import { parseTimestamp } from "../../core/timestamp.js";
import { withoutTrailing } from "../../core/trim.js";
import { type LayerPlan, storeLayer, storePathsOf } from "../../layers/plan.js";
import { MAX_LAYERS } from "../../layers/plan-layers.js";
import type { Closure } from "../../nix/closure.js";
import { readLocalClosure } from "../../nix/local-database.js";
import { parseStorePath } from "../../nix/store-path.js";
import { formatDockertoolsConfig, inheritEnv } from "../../oci/image.js";
import { layerMediaType } from "../../oci/manifest.js";
import { checkName, checkTag } from "../../oci/reference.js";
import { tarProfile } from "../../tar/profiles.js";
import { type ArchivedImage, readDockerArchive } from "../../transport/docker-archive-reader.js";
import { ownership } from "../file-tree.js";
import { checkStorePathsExist, type ImagePlan, type PlannedLayer, pathsOf } from "../image-plan.js";
import { layerKey } from "../layer-key.js";

/** Whether JSON has the shape of the conf.json that nixpkgs' streamLayeredImage makes. */
export function isDockertoolsConf(json: Json): json is JsonObject {
  return isJsonObject(json) && json.has("store_layers");
}

/**
 * Plans the image that nixpkgs' stream_layered_image.py makes of a conf.json: the same layers, the same config bytes. Base layers come
 * first, then the store layers, then the customisation layer. Of a base image's config only Env is inherited, as there.
 *
 * @param options.name instead of the name in the conf's `repo_tag`; `tag` likewise
 * @throws OciNixError `invalid-input` naming the field that is missing or wrong; `not-found` for missing store paths and files
 */
export async function planDockertoolsImage(
  conf: JsonObject,
  options: {
    readonly source: string;
    readonly storeRoot: string;
    readonly name?: string | undefined;
    readonly tag?: string | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<ImagePlan> {
  const { source, storeRoot } = options;
  const text = (key: string): string => {
    const value = conf.get(key);
    if (typeof value !== "string") throw wrong(`${source}: ${key}`, "a string", value);
    if (value.includes("\0")) throw new OciNixError("invalid-input", `${source}: ${key} must not hold a NUL`);
    return value;
  };
  const id = (key: string): number => {
    const value = conf.get(key);
    const digits = value instanceof JsonNumber ? value.text : value;
    if (typeof digits === "string" && /^\d{1,10}$/.test(digits)) return Number(digits);
    throw wrong(`${source}: ${key}`, "a whole number, in a string or not", value);
  };
  const storeDir = withoutTrailing(text("store_dir"), "/");
  const located = (path: string) => (path.startsWith(`${storeDir}/`) ? join(storeRoot, path) : path);
  const config = conf.get("config") ?? null;
  if (config !== null && !isJsonObject(config)) throw wrong(`${source}: config`, "an object", config);
  const created = parseTimestamp(text("created"), `${source}: created`);
  const mtime = parseTimestamp(text("mtime"), `${source}: mtime`);
  const owner = ownership(id("uid"), id("gid"), text("uname"), text("gname"));
  const architecture = text("architecture");
  const repoTag = repoTagOf(text("repo_tag"), options);
  const plans = storeLayersOf(conf, storeDir, source);
  checkStorePathsExist(plans, storeRoot);
  const files = { storeRoot, profile: tarProfile("dockertools"), owner };
  const objects = await objectsOf(plans, storeRoot);
  const storeLayers = plans.map((plan): PlannedLayer => {
    return { kind: "store", plan, key: objects && layerKey(plan, objects, files, mtime.seconds), objects };
  });
  const customisation = customisationLayer(text("customisation_layer"), located);
  const fromImage = conf.get("from_image") ?? null;
  if (fromImage !== null && typeof fromImage !== "string") {
    throw wrong(`${source}: from_image`, "a string or null", fromImage);
  }
  const base = fromImage === null ? undefined : await readDockerArchive(located(fromImage), options);
  const baseImage = base?.images[0];
  const layers: readonly PlannedLayer[] = [...baseLayers(baseImage), ...storeLayers, customisation];
  try {
    if (layers.length > MAX_LAYERS) {
      throw new OciNixError("limit", `${source} has ${layers.length} layers: Docker and podman stop at ${MAX_LAYERS}`, {
        hint: "lower maxLayers in the Nix expression; the layers of fromImage count",
      });
    }
    const merged = baseImage === undefined ? config : inheritEnv(baseImage.containerConfig, config ?? new Map());
    return {
      repoTags: [repoTag],
      layers,
      files,
      mtime: mtime.seconds,
      formatConfig: (diffIds) =>
        formatDockertoolsConfig(
          { architecture, created, config: merged },
          layers.map((layer, i) => ({ diffId: parseDigest(diffIds[i], "layer"), paths: pathsOf(layer) })),
        ),
      close: () => base?.close(),
    };
  } catch (error) {
    base?.close();
    throw error;
  }
}

/** Base layers go into the image byte for byte, packed or not. */
function baseLayers(base: ArchivedImage | undefined): readonly PlannedLayer[] {
  return (base?.layers ?? []).map((layer, i) => ({
    kind: "ready",
    ...layer,
    paths: [base?.layerNames[i] as string],
  }));
}

/** The conf's own name and tag are taken as they are, as nixpkgs does; what replaces them is checked. */
function repoTagOf(
  repoTag: string,
  { name, tag }: { readonly name?: string | undefined; readonly tag?: string | undefined },
): string {
  if (name === undefined && tag === undefined) return repoTag;
  const colon = repoTag.lastIndexOf(":");
  return `${name === undefined ? repoTag.slice(0, colon) : checkName(name, "--name")}:${tag === undefined ? repoTag.slice(colon + 1) : checkTag(tag, "--tag")}`;
}

/** What the Nix database knows of the layers' store paths; undefined where it is not there, or does not know them. */
async function objectsOf(plans: readonly LayerPlan[], storeRoot: string): Promise<Closure["objects"] | undefined> {
  const paths = plans.flatMap(storePathsOf);
  try {
    return paths.length === 0 ? undefined : (await readLocalClosure(paths, { storeRoot })).objects;
  } catch (error) {
    // The conf.json says all that the image needs: the database only saves work.
    if (error instanceof OciNixError) return undefined;
    throw error;
  }
}

function storeLayersOf(conf: JsonObject, storeDir: string, source: string): readonly LayerPlan[] {
  const layers = conf.get("store_layers");
  if (!Array.isArray(layers) || !layers.every((layer) => Array.isArray(layer))) {
    throw wrong(`${source}: store_layers`, "an array of arrays of store paths", layers);
  }
  return layers.map((layer: readonly Json[]) =>
    storeLayer(
      layer.map((path) => parseStorePath(typeof path === "string" ? path : JSON.stringify(path), storeDir)),
      `given by ${source}`,
    ),
  );
}

/** The store path that nixpkgs builds for contents and commands: `layer.tar`, and its SHA-256 in `checksum`. */
function customisationLayer(path: string, located: (path: string) => string): PlannedLayer {
  const directory = located(path);
  const checksumFile = join(directory, "checksum");
  let recorded: string;
  try {
    recorded = readSmallFile(checksumFile).trim();
  } catch (error) {
    if (error instanceof OciNixError && error.code !== "not-found") throw error;
    throw new OciNixError(
      "not-found",
      `cannot read the customisation layer's ${checksumFile}: no such file or directory`,
      {
        hint: "build the image's conf.json again: the customisation layer must exist beside it",
        cause: error,
      },
    );
  }
  const digest = parseDigest(`sha256:${recorded}`, checksumFile);
  const file = join(directory, "layer.tar");
  const { size, close } = openForReading(file);
  close();
  const blob: BlobSource = {
    title: file,
    size,
    async writeTo(out) {
      const opened = openForReading(file);
      try {
        out.beginDigest();
        await copyRange(opened.fd, { offset: 0, size }, out, file);
        const actual = out.endDigest();
        if (actual === digest) return digest;
        throw new OciNixError("verification", `${file} is ${actual}, but ${checksumFile} says ${digest}`, {
          hint: "the store path is damaged: nix-store --repair-path can fetch or build it again",
        });
      } finally {
        opened.close();
      }
    },
  };
  const descriptor = { mediaType: layerMediaType("none"), digest, size };
  return { kind: "ready", blob, diffId: digest, descriptor, paths: [path] };
}

/** A file of at most a few lines, never a FIFO that would be waited for. */
function readSmallFile(path: string): string {
  const { fd, size, close } = openForReading(path);
  try {
    return readRange(fd, { offset: 0, size: Math.min(size, 4096) }, path).toString("utf8");
  } finally {
    close();
  }
}
