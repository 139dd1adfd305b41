import type { CompressionName } from "../core/compression.js";
import { codecOf } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import type { Descriptor } from "../oci/manifest.js";
import type { BlobSink, FinishedImage, ImageTarget, StoredImage } from "../transport/image.js";
import { type BuildOptions, buildPlannedImage } from "./build.js";
import type { ImagePlan } from "./image-plan.js";
import { UNPACKED } from "./packer.js";

/** An image as it would be sent, to the byte. */
export interface MeasuredImage {
  /** How its layers are packed. */
  readonly codec: string;
  /** Bottom first. */
  readonly layers: readonly MeasuredBlob[];
  readonly config: MeasuredBlob;
  readonly manifest: MeasuredBlob;
  /** Bytes of the config, where it is to be uploaded. */
  readonly configBytes: number;
  /** Bytes of all blobs to be uploaded, each once: layers and config. */
  readonly uploadBytes: number;
}

/** A layer as a push would send it. */
export interface MeasuredBlob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** Whether it is there already. */
  readonly isHeld: boolean;
}

/** Blobs that are somewhere, by their digests. */
export type BlobDigests = ReadonlySet<Digest>;

/** The blobs of a stored image, its documents included, as far as it tells their digests. */
export function blobDigestsOf({ manifest, config, layers }: StoredImage): BlobDigests {
  const descriptors = [manifest?.descriptor, config.descriptor, ...layers.map(({ descriptor }) => descriptor)];
  return new Set(descriptors.flatMap((descriptor) => (descriptor === undefined ? [] : [descriptor.digest])));
}

/**
 * Makes and packs an image's layers, keeping nothing but what the digest cache remembers; of a layer that it remembers nothing is read.
 * Afterwards the plan's files are closed.
 * @param held what is where it would be sent
 * @throws OciNixError see {@link buildPlannedImage}
 */
export async function measurePlannedImage(
  plan: ImagePlan,
  held: BlobDigests = new Set(),
  options: BuildOptions = {},
): Promise<MeasuredImage> {
  const finished: FinishedImage[] = [];
  await buildPlannedImage(plan, [scales(finished)], options);
  const [image] = finished;
  if (image === undefined) throw new Error("one image is finished");
  const measured = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size, isHeld: held.has(digest) });
  const [config, manifest, layers] = [measured(image.config), measured(image.manifest), image.layers.map(measured)];
  const sent = new Map([config, ...layers].filter(({ isHeld }) => !isHeld).map(({ digest, size }) => [digest, size]));
  const { compression = plan.compression ?? UNPACKED } = options;
  return {
    codec: codecOf(compression) ?? "none",
    layers,
    config,
    manifest,
    configBytes: config.isHeld ? 0 : config.size,
    uploadBytes: [...sent.values()].reduce((sum, size) => sum + size, 0),
  };
}

/** A target that takes everything and keeps nothing; what is known without its bytes it does not want. */
function scales(finished: FinishedImage[]): ImageTarget {
  const sink: BlobSink = { write: () => undefined, commit: async () => undefined, discard: async () => undefined };
  return {
    title: "nowhere",
    takesOne: true,
    refuses: (_compression: CompressionName) => undefined,
    has: async () => true,
    link: async () => false,
    begin: async () => sink,
    finish: async (images) => void finished.push(...images),
    close: async () => undefined,
  };
}
