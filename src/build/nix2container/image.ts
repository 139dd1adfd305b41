import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import type { BlobSource } from "../../core/blob.js";
import { parseDigest } from "../../core/digest.js";
import { atPlace, OciNixError, placed } from "../../core/errors.js";
import { copyRange, openForReading } from "../../core/file-range.js";
import type { JsonObject } from "../../core/json.js";
import { MAX_LAYERS } from "../../layers/plan-layers.js";
import { formatNix2containerConfig } from "../../oci/image.js";
import { checkName, checkTag } from "../../oci/reference.js";
import { LAYER_MEDIA_TYPE, type Nix2containerLayer, parseNix2containerImage } from "../../transport/nix2container.js";
import { openUnpacked, type UnpackedFile } from "../../transport/unpacked-file.js";
import { type FileTreeOptions, type SettledPlan, settleLayers } from "../file-tree.js";
import { checkStorePathsExist, type ImagePlan, type PlannedLayer } from "../image-plan.js";
import { layerContentOf, NIX2CONTAINER_MTIME, nix2containerFiles } from "./content.js";

/**
 * Plans the image that nix2container's transport makes of its image file: the same layers, the same config bytes. Layers come from the
 * store, or from the file that the image file names; either must be what was recorded.
 *
 * @param options.name the image file has none; `tag` is `latest` by default
 * @throws OciNixError `invalid-input` naming the field that is missing or wrong; `not-found` for missing store paths and files
 */
export async function planNix2containerImage(
  json: JsonObject,
  options: {
    readonly source: string;
    readonly storeRoot: string;
    readonly name?: string | undefined;
    readonly tag?: string | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<ImagePlan> {
  const { source, storeRoot, name, tag, signal } = options;
  const image = parseNix2containerImage(json, source);
  if (image.layers.length > MAX_LAYERS) {
    throw new OciNixError(
      "limit",
      `${source} has ${image.layers.length} layers: Docker and podman stop at ${MAX_LAYERS}`,
      {
        hint: "lower maxLayers in the Nix expression; the layers of fromImage count",
      },
    );
  }
  if (image.layers.length === 0) {
    throw new OciNixError("invalid-input", `${source} has no layers: there is nothing to make an image of`);
  }
  const keptFiles: KeptLayer[] = [];
  const whereIs = (index: number) => `${source}: layers[${index}]`;
  const planned = image.layers.map((layer, i): PlannedLayer => {
    const where = whereIs(i);
    if (layer.mediaType === LAYER_MEDIA_TYPE && layer.digest !== layer.diffId) {
      throw new OciNixError(
        "invalid-input",
        `${where}: digest and diff_ids differ, though the layer is not compressed`,
      );
    }
    if (layer.layerPath === undefined) return storeLayerOf(layer, where);
    const { layerPath } = layer;
    const kept = atPlace(where, () => new KeptLayer(layer, layerPath, { where, number: i + 1, storeRoot, signal }));
    keptFiles.push(kept);
    return { kind: "ready", blob: () => kept.open(), paths: layer.paths.map(({ path }) => path) };
  });
  checkStorePathsExist(
    planned.flatMap((layer) => (layer.kind === "store" ? [layer.plan] : [])),
    storeRoot,
  );
  const files = nix2containerFiles(storeRoot);
  const layers: PlannedLayer[] = [];
  for (const [i, layer] of planned.entries()) {
    if (layer.kind === "ready") layers.push(layer);
    // Each by itself, as its digest was recorded: here nothing depends on other layers.
    else layers.push({ ...layer, plan: await settleLayer(layer.plan, { ...files, signal }, whereIs(i)) });
  }
  return {
    repoTags: repoTagsOf(name, tag),
    layers,
    files,
    mtime: NIX2CONTAINER_MTIME,
    formatConfig: (diffIds) =>
      formatNix2containerConfig(
        { architecture: image.architecture, created: image.created, config: image.config },
        image.layers.map(({ history }, i) => ({ diffId: parseDigest(diffIds[i], "layer"), history })),
      ),
    close() {
      for (const kept of keptFiles) kept.close();
    },
  };
}

/** Rewrites and rules are tried before the first byte goes out. */
async function settleLayer(plan: SettledPlan, options: FileTreeOptions, where: string): Promise<SettledPlan> {
  try {
    const [settled = plan] = await settleLayers([plan], options);
    return settled;
  } catch (error) {
    throw placed(where, error);
  }
}

function repoTagsOf(name: string | undefined, tag: string | undefined): readonly string[] {
  if (name === undefined && tag === undefined) return [];
  if (name === undefined) throw new OciNixError("usage", "a tag needs a name", { hint: "give --name, too" });
  return [`${checkName(name, "--name")}:${checkTag(tag ?? "latest", "--tag")}`];
}

function storeLayerOf({ paths, mediaType, diffId, size }: Nix2containerLayer, where: string): PlannedLayer {
  if (paths.length === 0) {
    throw new OciNixError("invalid-input", `${where} has neither paths nor a layer-path: nothing says what is in it`);
  }
  if (mediaType !== LAYER_MEDIA_TYPE) {
    throw new OciNixError("unsupported", `${where} is made from store paths, but its media type is ${mediaType}`, {
      hint: `${LAYER_MEDIA_TYPE} is what nix2container makes`,
    });
  }
  const contents = paths.map((path, i) => layerContentOf(path, `${where}.paths[${i}].path`));
  return { kind: "store", plan: { contents, reason: "" }, narSize: size, recorded: { diffId, size } };
}

const PACKED = new Set([`${LAYER_MEDIA_TYPE}+gzip`, `${LAYER_MEDIA_TYPE}+zstd`]);

/** A layer that lies in a file, perhaps compressed. It is unpacked when its turn comes, so that one is at a time. */
class KeptLayer {
  readonly #layer: Nix2containerLayer;
  readonly #file: string;
  readonly #where: { readonly number: number; readonly signal: AbortSignal | undefined };
  #open: UnpackedFile | undefined;

  /** @throws OciNixError `not-found`, `unreadable`; `unsupported` for another media type; `verification` for another size than recorded */
  constructor(
    layer: Nix2containerLayer,
    path: string,
    options: {
      readonly where: string;
      readonly number: number;
      readonly storeRoot: string;
      readonly signal: AbortSignal | undefined;
    },
  ) {
    const { mediaType, size } = layer;
    this.#layer = layer;
    const underRoot = join(options.storeRoot, path);
    this.#file = isAbsolute(path) && existsSync(underRoot) ? underRoot : path;
    this.#where = options;
    if (mediaType !== LAYER_MEDIA_TYPE && !PACKED.has(mediaType)) {
      throw new OciNixError("unsupported", `layers of the media type ${mediaType} are not read`);
    }
    const file = openForReading(this.#file);
    file.close();
    if (size !== 0 && file.size !== size) throw this.#mismatch(`is ${file.size} bytes long, not ${size} as recorded`);
  }

  async open(): Promise<BlobSource> {
    this.#open ??= await this.#unpack();
    const { size } = this.#open;
    return {
      title: this.#file,
      size,
      writeTo: async (out) => {
        this.#open ??= await this.#unpack();
        try {
          out.beginDigest();
          await copyRange(this.#open.fd, { offset: 0, size }, out, this.#file);
        } finally {
          this.close();
        }
        const found = out.endDigest();
        if (found !== this.#layer.diffId) throw this.#mismatch(`holds ${found}, not ${this.#layer.diffId} as recorded`);
        return found;
      },
    };
  }

  close(): void {
    this.#open?.close();
    this.#open = undefined;
  }

  async #unpack(): Promise<UnpackedFile> {
    if (!PACKED.has(this.#layer.mediaType)) return openForReading(this.#file);
    try {
      return await openUnpacked(this.#file, this.#where.signal);
    } catch (error) {
      if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
      throw this.#mismatch(`is not ${this.#layer.digest} as recorded: ${error.message}`);
    }
  }

  #mismatch(what: string): OciNixError {
    return new OciNixError("verification", `layer ${this.#where.number}: ${this.#file} ${what}`, {
      hint: "the file is damaged or was replaced: fetch or build it again",
    });
  }
}
