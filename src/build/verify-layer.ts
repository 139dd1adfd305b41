import type { BlobSource } from "../core/blob.js";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { nullSink } from "../core/byte-sink.js";
import { OciNixError } from "../core/errors.js";
import { storePathsOf } from "../layers/plan.js";
import type { PlannedLayer } from "./image-plan.js";
import type { LayerDigest } from "./pipeline/shared.js";

export type StoreLayer = Extract<PlannedLayer, { kind: "store" }>;

/**
 * The blob, which must be what was recorded for the layer, if anything was: a wrong size is found before its first byte goes out, a wrong
 * digest with its last.
 * @param number of the layer, from 1
 * @throws OciNixError as {@link verifyLayer}
 */
export async function verifiedBlob(blob: BlobSource, layer: StoreLayer, number: number): Promise<BlobSource> {
  const { title, size } = blob;
  if (layer.recorded === undefined) return blob;
  if (size !== layer.recorded.size) {
    const out = new BlockWriter(nullSink, { blockSize: BULK_BLOCK_SIZE });
    verifyLayer({ diffId: await blob.writeTo(out), size }, layer, number);
  }
  return {
    title,
    size,
    async writeTo(out) {
      const diffId = await blob.writeTo(out);
      verifyLayer({ diffId, size }, layer, number);
      return diffId;
    },
  };
}

const SHOWN = 20;

/** @throws OciNixError `verification` naming the store paths of a layer that is not what was recorded for it */
export function verifyLayer(found: LayerDigest, { recorded, plan }: StoreLayer, number: number): void {
  if (recorded === undefined || (found.diffId === recorded.diffId && found.size === recorded.size)) return;
  const paths = storePathsOf(plan);
  const more = paths.length > SHOWN ? ` and ${paths.length - SHOWN} more` : "";
  const suspects = `${paths.slice(0, SHOWN).join(", ")}${more}`;
  throw new OciNixError(
    "verification",
    `layer ${number} is ${found.diffId} (${found.size} bytes), but ${recorded.diffId} (${recorded.size} bytes) was recorded: ` +
      `the content of ${paths.length === 1 ? suspects : `one of ${suspects}`} has changed since`,
    {
      hint: "nix-store --verify-path says which store path is damaged; where a rebuild gave other bytes, make the layers file anew",
    },
  );
}
