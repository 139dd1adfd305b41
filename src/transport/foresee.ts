import type { OutgoingImage } from "./deliver.js";
import type { BlobFate, ImageTarget } from "./image.js";

/** What would become of a layer at one target. */
export interface ForeseenLayer {
  /** Bytes of its blob; undefined where it would have to be made first. */
  readonly size: number | undefined;
  /** In the order of the targets. */
  readonly fates: readonly BlobFate[];
}

/** Says what delivering an image would do, without reading a layer or changing anything. */
export async function foresee(
  image: OutgoingImage,
  targets: readonly ImageTarget[],
): Promise<readonly ForeseenLayer[]> {
  const diffIds = image.layers.map(({ known }) => known?.diffId);
  const held = await Promise.all(targets.map(async (target) => (await target.countHeld?.(diffIds)) ?? 0));
  return await Promise.all(
    image.layers.map(async ({ known }, index) => ({
      size: known?.blob.size,
      fates: await Promise.all(
        targets.map(async (target, i): Promise<BlobFate> => {
          if (known === undefined) return "uploads";
          if (index < (held[i] as number)) return "exists";
          if (target.foresee !== undefined) return await target.foresee(known.blob);
          return (await target.has(known.blob)) ? "exists" : "uploads";
        }),
      ),
    })),
  );
}
