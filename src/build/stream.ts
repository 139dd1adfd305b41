import { BlockWriter, type WriteProgress } from "../core/block-writer.js";
import type { ByteSink } from "../core/byte-sink.js";
import type { Digest } from "../core/digest.js";
import { type StreamableImage, writeDockerArchive } from "../transport/docker-archive.js";
import { writeOciLayout } from "../transport/oci-layout.js";
import { type ImagePlan, pathsOf } from "./image-plan.js";
import { type OpenLayers, openLayers } from "./layers.js";

/** Told as the work goes on. */
export interface StreamObserver {
  /** Counts that grow while bytes go out; read at any time. */
  readonly progress: WriteProgress;
  onLayer(layer: {
    readonly title: string;
    readonly size: number;
    readonly index: number;
    readonly count: number;
  }): void;
}

/** What went out. */
export interface StreamSummary {
  readonly repoTags: readonly string[];
  /** Digest of the image config. */
  readonly imageId: Digest;
  readonly layers: readonly {
    readonly diffId: Digest;
    readonly size: number;
    readonly storePaths: readonly string[];
  }[];
  /** Bytes of the whole archive, or of all blobs. */
  readonly bytes: number;
  /** Tar entries in all layers. */
  readonly entries: number;
}

/** What was written to an OCI layout. */
export interface BuildSummary extends StreamSummary {
  /** Digest of the manifest. */
  readonly manifest: Digest;
}

/**
 * Writes a planned image as a docker-archive, reading every file once. Afterwards the plan's files are closed.
 * @throws OciNixError see {@link writeDockerArchive} and the sink; what was written until then is no image
 */
export async function streamPlannedImage(
  plan: ImagePlan,
  sink: ByteSink,
  options: DeliveryOptions = {},
): Promise<StreamSummary> {
  const { signal, observer } = options;
  const progress = observer?.progress ?? { bytes: 0, entries: 0 };
  const out = new BlockWriter(sink, { signal, progress });
  return await deliver(plan, options, async (image) => {
    const { imageId, layers } = await writeDockerArchive(image, out);
    return {
      repoTags: plan.repoTags,
      imageId,
      layers: summarise(plan, layers),
      bytes: out.written,
      entries: progress.entries,
    };
  });
}

/**
 * Writes a planned image into an OCI layout, reading every file once. Afterwards the plan's files are closed.
 * @throws OciNixError see {@link writeOciLayout}; the layout's images are then as they were
 */
export async function buildOciLayout(
  plan: ImagePlan,
  target: { readonly directory: string; readonly tag: string | undefined },
  options: DeliveryOptions = {},
): Promise<BuildSummary> {
  const { signal, observer } = options;
  const progress = observer?.progress ?? { bytes: 0, entries: 0 };
  return await deliver(plan, options, async (image) => {
    const { manifest, config, layers } = await writeOciLayout(image, target, { signal, progress });
    return {
      repoTags: target.tag === undefined ? [] : [target.tag],
      manifest: manifest.digest,
      imageId: config.digest,
      layers: summarise(plan, layers),
      bytes: [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0),
      entries: progress.entries,
    };
  });
}

export interface DeliveryOptions {
  readonly signal?: AbortSignal | undefined;
  readonly observer?: StreamObserver | undefined;
  readonly threads?: number | undefined;
}

/** Opens the layers while `write` takes them, and closes everything afterwards. */
async function deliver<T>(
  plan: ImagePlan,
  { signal, observer, threads }: DeliveryOptions,
  write: (image: StreamableImage) => Promise<T>,
): Promise<T> {
  let layers: OpenLayers | undefined;
  try {
    const opened = openLayers(plan, { signal, threads });
    layers = opened;
    return await write({
      repoTags: plan.repoTags,
      layers: plan.layers.map((_, index) => async () => {
        const blob = await opened.open(index);
        observer?.onLayer({ title: blob.title, size: blob.size, index, count: plan.layers.length });
        return blob;
      }),
      config: (diffIds) => plan.formatConfig(diffIds),
    });
  } finally {
    await layers?.close();
    plan.close();
  }
}

function summarise(
  plan: ImagePlan,
  layers: readonly { readonly digest: Digest; readonly size: number }[],
): StreamSummary["layers"] {
  return layers.map(({ digest, size }, i) => ({
    diffId: digest,
    size,
    storePaths: pathsOf(plan.layers[i] as ImagePlan["layers"][number]),
  }));
}
