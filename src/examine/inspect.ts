import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import type { Json, JsonObject } from "../core/json.js";
import { COMPRESSION_ANNOTATION, type Descriptor } from "../oci/manifest.js";
import type { ImageSource, StoredImage } from "../transport/image.js";
import { imageTitle, layerHistory, parseObject, storePathsIn, textMember } from "./documents.js";

/** What a medium says of one layer. */
export interface InspectedLayer {
  /** Null where the medium does not say. */
  readonly mediaType: string | null;
  readonly compression: CompressionName;
  /** What packed it, level included, where it says so; see `codecOf`. */
  readonly codec: string | null;
  /** Bytes, as stored. */
  readonly size: number;
  /** Of the stored bytes; null where only reading them would tell. */
  readonly digest: Digest | null;
  readonly diffId: Digest;
  /** The config's history entry. */
  readonly history: Json;
  /** What {@link history} lists; null where it lists none. */
  readonly storePaths: readonly string[] | null;
}

/** What a medium says of one image. */
export interface InspectedImage {
  readonly names: readonly string[];
  /** Null in a docker-archive that is no OCI layout as well. */
  readonly manifest: Descriptor | null;
  readonly configDescriptor: Descriptor;
  readonly platform: {
    readonly os: string | null;
    readonly architecture: string | null;
    readonly variant: string | null;
  };
  readonly created: string | null;
  readonly layers: readonly InspectedLayer[];
  /** Bytes of all layers, as stored. */
  readonly size: number;
  /** The image config, its keys in their order. */
  readonly config: JsonObject;
}

/** Describes the images of a source. No layer is read. @throws OciNixError `invalid-input` where a config is no JSON */
export function inspectImages(source: ImageSource): readonly InspectedImage[] {
  return source.images.map(inspectImage);
}

function inspectImage(image: StoredImage, index: number): InspectedImage {
  const config = parseObject(image.config.bytes, `the config of ${imageTitle(image, index)}`);
  const history = layerHistory(config);
  const layers = image.layers.map(
    ({ blob, compression, descriptor, diffId }, i): InspectedLayer => ({
      mediaType: descriptor?.mediaType ?? null,
      compression,
      codec: descriptor?.annotations?.[COMPRESSION_ANNOTATION] ?? null,
      size: descriptor?.size ?? blob.size,
      digest: descriptor?.digest ?? null,
      diffId,
      history: history[i] ?? null,
      storePaths: storePathsIn(history[i]) ?? null,
    }),
  );
  return {
    names: image.names,
    manifest: image.manifest?.descriptor ?? null,
    configDescriptor: image.config.descriptor,
    platform: {
      os: textMember(config, "os") ?? null,
      architecture: textMember(config, "architecture") ?? null,
      variant: textMember(config, "variant") ?? null,
    },
    created: textMember(config, "created") ?? null,
    layers,
    size: layers.reduce((sum, layer) => sum + layer.size, 0),
    config,
  };
}
