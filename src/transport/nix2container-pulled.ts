import { statSync } from "node:fs";
import { type Digest, hexOf, parseDigest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, wrong } from "../core/json.js";
import { readJsonFile } from "../core/json-file.js";
import { LAYER_MEDIA_TYPE, type Nix2containerImage, type Nix2containerLayer } from "./nix2container.js";

/**
 * The image in a directory as skopeo's `dir:` transport fills it: `manifest.json`, and blobs named by their digest's hex digits.
 * @param directory layers are named below it, as it is given
 * @throws OciNixError `not-found` or `unreadable` for a missing file; `invalid-input` or `unsupported` for a manifest we cannot use
 */
export async function imageFromDirectory(directory: string): Promise<Nix2containerImage> {
  return await imageFrom(`${directory}/manifest.json`, (digest) => {
    const file = `${directory}/${hexOf(digest)}`;
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
    throw new OciNixError("not-found", `${directory} lacks ${hexOf(digest)}, which its manifest.json names`, {
      hint: "copy the image again: skopeo copy docker://… dir:…",
    });
  });
}

/**
 * The image of a manifest whose blobs lie anywhere.
 * @param blobsFile a JSON object: the hex digits of a blob's digest → its file
 * @throws OciNixError as {@link imageFromDirectory}
 */
export async function imageFromManifest(manifestFile: string, blobsFile: string): Promise<Nix2containerImage> {
  const blobs = await readJsonFile(blobsFile);
  if (!isJsonObject(blobs)) throw wrong(blobsFile, "an object of digests and files", blobs);
  return await imageFrom(manifestFile, (digest) => {
    const file = blobs.get(hexOf(digest));
    if (typeof file === "string" && file !== "") return file;
    throw new OciNixError(
      "invalid-input",
      `${blobsFile} has no file for ${hexOf(digest)}, which ${manifestFile} names`,
    );
  });
}

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  "application/vnd.docker.image.rootfs.diff.tar": LAYER_MEDIA_TYPE,
  "application/vnd.docker.image.rootfs.diff.tar.gzip": `${LAYER_MEDIA_TYPE}+gzip`,
  [LAYER_MEDIA_TYPE]: LAYER_MEDIA_TYPE,
  [`${LAYER_MEDIA_TYPE}+gzip`]: `${LAYER_MEDIA_TYPE}+gzip`,
  [`${LAYER_MEDIA_TYPE}+zstd`]: `${LAYER_MEDIA_TYPE}+zstd`,
};

/** Of the image's config only the diffIDs are taken, as nix2container does: nothing of it is inherited. */
async function imageFrom(manifestFile: string, fileOf: (digest: Digest) => string): Promise<Nix2containerImage> {
  const manifest = await readJsonFile(manifestFile);
  const config = member(manifest, "config");
  const layers = member(manifest, "layers");
  if (config === undefined || !Array.isArray(layers)) {
    const isIndex = member(manifest, "manifests") !== undefined;
    throw new OciNixError(
      "invalid-input",
      `${manifestFile} is ${isIndex ? "an index of several images" : "no image manifest"}`,
      {
        hint: "give the manifest of one image: skopeo inspect --raw docker://NAME@DIGEST",
      },
    );
  }
  const configFile = fileOf(parseDigest(member(config, "digest"), `${manifestFile}: config.digest`));
  const diffIds = member(member(await readJsonFile(configFile), "rootfs"), "diff_ids");
  if (!Array.isArray(diffIds) || diffIds.length !== layers.length) {
    const found = Array.isArray(diffIds) ? diffIds.length : "no";
    throw new OciNixError(
      "invalid-input",
      `${manifestFile} has ${layers.length} layers, ${configFile} ${found} rootfs.diff_ids`,
    );
  }
  return {
    config: new Map(),
    architecture: "",
    layers: layers.map((layer: Json, i): Nix2containerLayer => {
      const where = `${manifestFile}: layers[${i}]`;
      const digest = parseDigest(member(layer, "digest"), `${where}.digest`);
      const diffId = parseDigest(diffIds[i], `${configFile}: rootfs.diff_ids[${i}]`);
      const mediaType = mediaTypeOf(member(layer, "mediaType"), `${where}.mediaType`);
      // nix2container does not say their size either: 0 stands for unknown.
      return { digest, size: 0, diffId, paths: [], mediaType, layerPath: fileOf(digest), history: {} };
    }),
  };
}

function mediaTypeOf(value: Json | undefined, where: string): string {
  const known = typeof value === "string" && Object.hasOwn(MEDIA_TYPES, value) ? MEDIA_TYPES[value] : undefined;
  if (known !== undefined) return known;
  throw new OciNixError(
    "unsupported",
    `${where}: layers of the type ${typeof value === "string" ? value : "(none)"} are not read`,
    {
      hint: "plain, gzip and zstd layers are",
    },
  );
}

function member(value: Json | undefined, key: string): Json | undefined {
  return (isJsonObject(value) ? value.get(key) : undefined) ?? undefined;
}
