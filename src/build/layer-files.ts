import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { fdSink } from "../core/byte-sink.js";
import { type Digest, hexOf } from "../core/digest.js";
import { createFile, type NewFile, syncDirectory, syncFile } from "../core/output-file.js";
import { removeLeftovers } from "../core/temporary.js";
import type { ImagePlan } from "./image-plan.js";
import { openLayers } from "./layers.js";
import type { LayerDigest } from "./pipeline/shared.js";

/** The file that {@link writeLayerFiles} keeps a layer in. */
export function layerFile(directory: string, diffId: Digest): string {
  return `${directory}/${hexOf(diffId)}.tar`;
}

/**
 * Writes the layers of an image, uncompressed, each to a file of its own, reading every file of the store once. The files get their
 * names once all are whole; else none is left.
 * @throws OciNixError as {@link openLayers}; `not-found` or `output` where the directory is missing or cannot be written
 */
export async function writeLayerFiles(
  plan: ImagePlan,
  directory: string,
  signal?: AbortSignal,
): Promise<readonly LayerDigest[]> {
  const layers = openLayers(plan, { signal });
  const files: NewFile[] = [];
  removeLeftovers(directory);
  try {
    const digests: LayerDigest[] = [];
    for (const index of plan.layers.keys()) {
      const blob = await layers.open(index);
      const file = createFile(directory);
      files.push(file);
      const sink = fdSink(file.fd, directory, signal);
      const out = new BlockWriter(sink, { blockSize: BULK_BLOCK_SIZE, signal });
      digests.push({ diffId: await blob.writeTo(out), size: blob.size });
      await out.flush();
      await syncFile(file.fd, directory);
      file.close();
    }
    for (const [index, { diffId }] of digests.entries()) files[index]?.commit(layerFile(directory, diffId));
    syncDirectory(directory);
    return digests;
  } finally {
    for (const file of files) file.discard();
    await layers.close();
  }
}
