import { checkForeseen, checkTakes, countHeld, type OutgoingImage } from "./deliver.js";
import { followOneOf } from "./following.js";
import type { BlobFate, ImageTarget } from "./image.js";

/** What would become of a layer at one target. */
export interface ForeseenLayer {
  /** Bytes of its blob; undefined where it would have to be made first. */
  readonly size: number | undefined;
  /** In the order of the targets. */
  readonly fates: readonly BlobFate[];
}

/**
 * Says of each image's layers what delivering would do, without reading a layer or changing anything.
 * @throws OciNixError where delivering would fail before anything is made
 */
export async function foresee(
  images: readonly OutgoingImage[],
  targets: readonly ImageTarget[],
): Promise<readonly (readonly ForeseenLayer[])[]> {
  for (const target of targets) checkTakes(target, images);
  const foreseen: (readonly ForeseenLayer[])[] = [];
  for (const image of images) foreseen.push(await foreseeImage(image, targets));
  return foreseen;
}

async function foreseeImage(image: OutgoingImage, targets: readonly ImageTarget[]): Promise<readonly ForeseenLayer[]> {
  checkForeseen(image, targets);
  const held = await countHeld(image, targets);
  return await Promise.all(
    image.layers.map(async ({ known }, index) => {
      const alone = await Promise.all(
        targets.map(async (target, i): Promise<BlobFate> => {
          if (known === undefined) return "uploads";
          if (index < (held[i] as number)) return "exists";
          if (target.foresee !== undefined) return await target.foresee(known.blob);
          return (await target.has(known.blob)) ? "exists" : "uploads";
        }),
      );
      const fates = alone.map((fate, i) => (fate === "uploads" && followsAnother(i, alone, targets) ? "mounts" : fate));
      return { size: known?.blob.size, fates };
    }),
  );
}

/** Whether a target gets a layer from another one, which has it or is sent it first. */
function followsAnother(index: number, fates: readonly BlobFate[], targets: readonly ImageTarget[]): boolean {
  const first = targets.filter((_, i) => i !== index && (fates[i] !== "uploads" || i < index));
  return followOneOf(first, targets[index] as ImageTarget) !== undefined;
}
