import { noCache } from "../cache/digest-cache.js";
import { BlockWriter } from "../core/block-writer.js";
import type { ByteSink } from "../core/byte-sink.js";
import { createCompressor } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { writeDockerArchive } from "../transport/docker-archive.js";
import { type DeliveryOptions, type ImageSummary, LayerReader } from "./delivery.js";
import { type ImagePlan, type PlannedLayer, pathsOf } from "./image-plan.js";

/**
 * Writes a planned image as a docker-archive of the form that the plan says, reading every file once. Afterwards the plan's files are closed.
 * @throws OciNixError see {@link writeDockerArchive} and the sink; what was written until then is no image
 */
export async function streamPlannedImage(
  plan: ImagePlan,
  sink: ByteSink,
  options: DeliveryOptions = {},
): Promise<ImageSummary> {
  const { signal, observer, cache = noCache } = options;
  const progress = observer?.progress ?? { bytes: 0, entries: 0 };
  const { compression, repositories = false } = plan.archive ?? {};
  const packer =
    compression &&
    createCompressor({ name: compression, level: undefined }, sink, { signal, threads: options.threads });
  const out = new BlockWriter(packer ?? sink, { signal, progress });
  const reader = new LayerReader(plan, cache, options);
  try {
    reader.start([...plan.layers.keys()]);
    const { imageId, layers } = await writeDockerArchive(
      {
        repoTags: plan.repoTags,
        repositories,
        layers: plan.layers.map((_, index) => () => reader.open(index)),
        config: (digests) => plan.formatConfig(digests.map((digest, i) => diffIdOf(plan.layers[i], digest))),
      },
      out,
    );
    await packer?.end();
    return {
      repoTags: plan.repoTags,
      imageId,
      layers: layers.map(({ digest, size }, i) => ({
        diffId: diffIdOf(plan.layers[i], digest),
        size,
        storePaths: pathsOf(plan.layers[i] as PlannedLayer),
      })),
      bytes: out.written,
      entries: progress.entries,
    };
  } finally {
    packer?.close();
    await reader.close();
  }
}

/** The layer's diffID, from the digest of its blob. */
function diffIdOf(layer: PlannedLayer | undefined, digest: Digest): Digest {
  return layer?.kind === "ready" ? (layer.diffId ?? digest) : digest;
}
