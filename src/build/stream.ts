import { BlockWriter, type WriteProgress } from "../core/block-writer.js";
import type { ByteSink } from "../core/byte-sink.js";
import type { Digest } from "../core/digest.js";
import { writeDockerArchive } from "../transport/docker-archive.js";
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
  /** Bytes of the whole archive. */
  readonly bytes: number;
  /** Tar entries in all layers. */
  readonly entries: number;
}

/**
 * Writes a planned image as a docker-archive, reading every file once. Afterwards the plan's files are closed.
 * @throws OciNixError see {@link writeDockerArchive} and the sink; what was written until then is no image
 */
export async function streamPlannedImage(
  plan: ImagePlan,
  sink: ByteSink,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly observer?: StreamObserver | undefined;
    readonly threads?: number | undefined;
  } = {},
): Promise<StreamSummary> {
  const { signal, observer, threads } = options;
  const progress = observer?.progress ?? { bytes: 0, entries: 0 };
  const out = new BlockWriter(sink, { signal, progress });
  let layers: OpenLayers | undefined;
  try {
    const opened = openLayers(plan, { signal, threads });
    layers = opened;
    const { imageId, layers: written } = await writeDockerArchive(
      {
        repoTags: plan.repoTags,
        layers: plan.layers.map((_, index) => async () => {
          const blob = await opened.open(index);
          observer?.onLayer({ title: blob.title, size: blob.size, index, count: plan.layers.length });
          return blob;
        }),
        config: (diffIds) => plan.formatConfig(diffIds),
      },
      out,
    );
    return {
      repoTags: plan.repoTags,
      imageId,
      layers: written.map(({ digest, size }, i) => ({
        diffId: digest,
        size,
        storePaths: pathsOf(plan.layers[i] as ImagePlan["layers"][number]),
      })),
      bytes: out.written,
      entries: progress.entries,
    };
  } finally {
    await layers?.close();
    plan.close();
  }
}
