import { type ByteSink, teeSink } from "../core/byte-sink.js";
import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import type { Descriptor } from "../oci/manifest.js";
import { followOneOf, splitFollowing } from "./following.js";
import type { Document, FinishedImage, ImageTarget } from "./image.js";

/** What is known of a layer, before or after its bytes were made. */
export interface KnownLayer {
  /** As the manifest names it. */
  readonly blob: Descriptor;
  /** SHA-256 of the unpacked tar. */
  readonly diffId: Digest;
}

/** A layer on its way to targets. */
export interface OutgoingLayer {
  readonly compression: CompressionName;
  /** What it will be, where that can be told without its bytes. */
  readonly known: KnownLayer | undefined;
  /**
   * The file that holds just the known blob, once its bytes are verified; undefined where there is none. Asked for only where it is needed.
   * @throws OciNixError `verification` where the file is damaged and nothing else has the bytes
   */
  file?(): Promise<string | undefined>;
}

/** Gives the bytes of layers. */
export interface LayerBytes {
  /** Writes the layer's blob. @throws OciNixError where it cannot be made, or is not what was known of it */
  write(index: number, sink: ByteSink): Promise<KnownLayer>;
  close(): Promise<void>;
}

/** An image on its way to targets. */
export interface OutgoingImage {
  /** `name:tag` each. */
  readonly names: readonly string[];
  /** Bottom first. */
  readonly layers: readonly OutgoingLayer[];
  /**
   * Gets the bytes of these layers ready: each is then written once, in order. Of all others nothing is read. It may be called again
   * after {@link LayerBytes.close}.
   */
  open(indexes: readonly number[]): LayerBytes;
  /** The documents, once all layers are known. */
  config(layers: readonly KnownLayer[]): Document;
  manifest(config: Descriptor, layers: readonly KnownLayer[]): Document;
}

/** What became of an image. */
export interface DeliveredImage extends FinishedImage {
  readonly diffIds: readonly Digest[];
  /** Indexes of the layers whose bytes were made or read. */
  readonly written: readonly number[];
}

/**
 * Brings images to all targets at once: every layer's bytes are made at most once, and only where a target lacks them. Images become
 * visible when all blobs of all images are there.
 * @throws OciNixError `unsupported` where a target cannot hold a layer that is packed so; what sources and targets throw; before
 *   {@link ImageTarget.finish} nothing is visible
 */
export async function deliver(
  images: readonly OutgoingImage[],
  targets: readonly ImageTarget[],
): Promise<readonly DeliveredImage[]> {
  for (const target of targets) checkTakes(target, images);
  try {
    const delivered: DeliveredImage[] = [];
    for (const image of images) delivered.push(await deliverBlobs(image, targets));
    // One after the other: where one fails, those before it have the image, and those after it are as they were.
    for (const target of targets) {
      await target.finish(delivered, async () => {
        for (const [i, image] of images.entries()) {
          delivered[i] = writtenTwice(delivered[i] as DeliveredImage, await deliverBlobs(image, [target]));
        }
      });
    }
    return delivered;
  } catch (error) {
    throw withRemains(error, targets);
  }
}

/** The error, saying what need not be done again. */
function withRemains(error: unknown, targets: readonly ImageTarget[]): unknown {
  const remains = targets.flatMap((target) => target.remains?.() ?? []);
  if (!(error instanceof OciNixError) || remains.length === 0) return error;
  const { code, message, hint, cause } = error;
  return new OciNixError(code, `${message} (${remains.join("; ")})`, {
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Before anything is made. @throws OciNixError `usage` or `unsupported` */
export function checkTakes(target: ImageTarget, images: readonly OutgoingImage[]): void {
  if (target.takesOne && images.length !== 1) {
    throw new OciNixError("usage", `${target.title} names one image, and there are ${images.length}`, {
      hint: "choose one of them by its name in the source, or give no name here to keep their own",
    });
  }
  for (const image of images) checkAccepts(target, image);
}

/** @throws OciNixError `changed` where the second time made another image */
function writtenTwice(first: DeliveredImage, second: DeliveredImage): DeliveredImage {
  if (first.manifest.digest !== second.manifest.digest) {
    const name = first.names[0] ?? "the image";
    throw new OciNixError(
      "changed",
      `${name} was ${first.manifest.digest}, and ${second.manifest.digest} when read again`,
    );
  }
  return { ...second, written: [...new Set([...first.written, ...second.written])].sort((a, b) => a - b) };
}

function checkAccepts(target: ImageTarget, { layers }: OutgoingImage): void {
  for (const compression of new Set(layers.map((layer) => layer.compression))) {
    const reason = target.refuses(compression);
    if (reason === undefined) continue;
    throw new OciNixError("unsupported", `${target.title} cannot hold ${compression} layers: ${reason}`, {
      hint: "use --compression gzip or none, or an OCI target: oci:DIR or oci-archive:FILE",
    });
  }
}

async function deliverBlobs(image: OutgoingImage, targets: readonly ImageTarget[]): Promise<DeliveredImage> {
  checkForeseen(image, targets);
  const held = await countHeld(image, targets);
  const lacking = await Promise.all(
    image.layers.map((layer, index) => {
      const without = targets.filter((_, i) => index >= (held[i] as number));
      return lackers(layer, without);
    }),
  );
  const needed = [...lacking.keys()].filter((index) => (lacking[index] as readonly ImageTarget[]).length > 0);
  const layers = await putLayers(image, needed, lacking);
  const { config, manifest } = documentsOf(image, layers, targets);
  await putLost(image, layers, targets);
  for (const target of targets) for (const document of [config, manifest]) await putDocument(document, target);
  return {
    names: image.names,
    config: config.descriptor,
    manifest: manifest.descriptor,
    layers: layers.map(({ blob }) => blob),
    diffIds: layers.map(({ diffId }) => diffId),
    written: needed,
  };
}

/** How many of an image's lowest layers each target has unpacked. */
export async function countHeld(image: OutgoingImage, targets: readonly ImageTarget[]): Promise<readonly number[]> {
  const diffIds = image.layers.map(({ known }) => known?.diffId);
  return await Promise.all(targets.map(async (target) => (await target.countHeld?.(diffIds)) ?? 0));
}

/** What can be told beforehand is, before anything is made. @throws OciNixError as {@link ImageTarget.checkManifest} */
export function checkForeseen(image: OutgoingImage, targets: readonly ImageTarget[]): void {
  if (!targets.some(({ checkManifest }) => checkManifest !== undefined)) return;
  const layers = image.layers.flatMap(({ known }) => known ?? []);
  if (layers.length === image.layers.length) documentsOf(image, layers, targets);
}

function documentsOf(
  image: OutgoingImage,
  layers: readonly KnownLayer[],
  targets: readonly ImageTarget[],
): { readonly config: Document; readonly manifest: Document } {
  const config = image.config(layers);
  const manifest = image.manifest(config.descriptor, layers);
  for (const target of targets) target.checkManifest?.(manifest.descriptor);
  return { config, manifest };
}

async function putLayers(
  image: OutgoingImage,
  needed: readonly number[],
  lacking: readonly (readonly ImageTarget[])[],
): Promise<readonly KnownLayer[]> {
  const bytes = image.open(needed);
  try {
    const layers: KnownLayer[] = [];
    for (const [index, layer] of image.layers.entries()) {
      const to = lacking[index] as readonly ImageTarget[];
      layers.push(to.length === 0 ? (layer.known as KnownLayer) : await putLayer(index, layer.known, to, bytes));
    }
    return layers;
  } finally {
    await bytes.close();
  }
}

/** The targets that a layer's blob is to be written to: that do not have it, and get it neither from another target nor from a file. */
async function lackers(layer: OutgoingLayer, targets: readonly ImageTarget[]): Promise<readonly ImageTarget[]> {
  const { known } = layer;
  if (known === undefined) return targets;
  const { blob } = known;
  const having: ImageTarget[] = [];
  const without: ImageTarget[] = [];
  for (const target of targets) ((await target.has(blob)) ? having : without).push(target);
  const isGiven = (target: ImageTarget): boolean => {
    const follow = followOneOf(having, target);
    follow?.(blob);
    return follow !== undefined;
  };
  const lacking = without.filter((target) => !isGiven(target));
  const file = lacking.length === 0 ? undefined : await layer.file?.();
  if (file === undefined) return lacking;
  const left: ImageTarget[] = [];
  for (const target of lacking) {
    if (isGiven(target)) continue;
    if (await target.link(blob, file)) having.push(target);
    else left.push(target);
  }
  return left;
}

async function putLayer(
  index: number,
  known: KnownLayer | undefined,
  targets: readonly ImageTarget[],
  bytes: LayerBytes,
): Promise<KnownLayer> {
  const { leading, following } = splitFollowing(targets);
  const sinks = await Promise.all(leading.map((target) => target.begin(known?.blob)));
  try {
    const written = await bytes.write(index, teeSink(sinks));
    for (const sink of sinks) await sink.commit(written.blob);
    for (const follow of following) follow(written.blob);
    return written;
  } catch (error) {
    await Promise.all(sinks.map((sink) => sink.discard()));
    throw error;
  }
}

/** How often blobs are made again that got lost. */
const MAX_ROUNDS = 3;

/** Layers that did not arrive where nothing is left to send them from are made again. */
async function putLost(
  image: OutgoingImage,
  layers: readonly KnownLayer[],
  targets: readonly ImageTarget[],
): Promise<void> {
  for (let round = 0; ; round++) {
    const lost = await Promise.all(
      targets.map(async (target) => new Set((await target.lost?.())?.map(({ digest }) => digest))),
    );
    const lackers = layers.map(({ blob }, index) =>
      layers.findIndex((layer) => layer.blob.digest === blob.digest) === index
        ? targets.filter((_, i) => lost[i]?.has(blob.digest))
        : [],
    );
    const needed = [...layers.keys()].filter((index) => (lackers[index] as readonly ImageTarget[]).length > 0);
    if (needed.length === 0) return;
    if (round === MAX_ROUNDS) {
      const titles = new Set(lackers.flat().map(({ title }) => title));
      throw new OciNixError("unavailable", `${[...titles].join(", ")}: layers got lost on the way, again and again`, {
        hint: "run it again; --blob-cache keeps packed layers, which can then be sent from where the connection broke",
      });
    }
    const bytes = image.open(needed);
    try {
      for (const index of needed) {
        const layer = layers[index] as KnownLayer;
        const again = await putLayer(index, layer, lackers[index] as readonly ImageTarget[], bytes);
        if (again.blob.digest === layer.blob.digest) continue;
        throw new OciNixError("changed", `layer ${index} was ${layer.blob.digest}, and is ${again.blob.digest} now`, {
          hint: "files changed meanwhile: run it again",
        });
      }
    } finally {
      await bytes.close();
    }
  }
}

async function putDocument({ descriptor, bytes }: Document, target: ImageTarget): Promise<void> {
  if (await target.has(descriptor)) return;
  const sink = await target.begin(descriptor);
  try {
    await sink.write(bytes);
    await sink.commit(descriptor);
  } catch (error) {
    await sink.discard();
    throw error;
  }
}
