import type { Digest } from "../core/digest.js";
import type { StoredImage } from "../transport/image.js";
import { diffConfigs, type FieldChange } from "./diff-config.js";
import { diffFiles, type FilesDiff } from "./diff-files.js";
import { diffLayers, type LayersDiff } from "./diff-layers.js";
import { parseObject } from "./documents.js";

/** What is not the same in two images. */
export interface ImagesDiff {
  /** Nothing in config, layers and files differs; the stored bytes may. */
  readonly equal: boolean;
  /** Config and layers are stored as the same bytes. */
  readonly sameBlobs: boolean;
  readonly configDigests: readonly [Digest, Digest];
  readonly config: readonly FieldChange[];
  readonly layers: LayersDiff;
  readonly files: FilesDiff;
}

/**
 * Compares two images: config, layers, and the files that the layers make together. Where all layers are the same, none is read.
 * @throws OciNixError `verification` where a layer that is read is not what was recorded for it
 */
export async function diffImages(a: StoredImage, b: StoredImage, signal?: AbortSignal): Promise<ImagesDiff> {
  const config = diffConfigs(
    parseObject(a.config.bytes, "the config of the first image"),
    parseObject(b.config.bytes, "the config of the second image"),
  );
  const { layers, ownOfA, ownOfB } = diffLayers(a, b);
  const files = await diffFiles(a, b, ownOfA, ownOfB, signal);
  const configDigests = [a.config.descriptor.digest, b.config.descriptor.digest] as const;
  return {
    equal: config.length === 0 && ownOfA.size === 0 && ownOfB.size === 0,
    sameBlobs: configDigests[0] === configDigests[1] && layers.repacked.length === 0,
    configDigests,
    config,
    layers,
    files,
  };
}
