import type { Compression } from "../core/compression.js";
import { codecOf, parseCompression } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import type { JsonObject } from "../core/json.js";
import { COMPRESSION_ANNOTATION, type Descriptor } from "../oci/manifest.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { likelyCauses } from "./causes.js";
import { diffConfigs } from "./diff-config.js";
import { diffFiles } from "./diff-files.js";
import { diffLayers } from "./diff-layers.js";
import { layerHistory, parseObject, storePathsIn } from "./documents.js";
import { firstDifference } from "./first-difference.js";
import { readLayer } from "./layer.js";
import type { ExpectedImage, ImageVerification, VerifiedLayer } from "./verification.js";

/** How far a verification goes. */
export interface VerifyOptions {
  /** Whether the layers of the image are read (by default), or are believed to be what its manifest and config say. */
  readonly readsLayers?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what is done next. */
  readonly onStep?: ((step: string) => void) | undefined;
}

const TITLES = ["what the input gives", "the image"] as const;

/**
 * Compares an image with what it is to be: its layers, unless told otherwise, are read whole, and every digest is computed again.
 * What differs is a result, not an error.
 * @throws OciNixError `unavailable`, `denied` where the image cannot be read; as {@link ExpectedImage} where what is expected cannot be made
 */
export async function verifyImage(
  image: StoredImage,
  expected: ExpectedImage,
  options: VerifyOptions = {},
): Promise<ImageVerification> {
  const { readsLayers = true, signal, onStep } = options;
  const found: FoundLayer[] = [];
  for (const [i, layer] of image.layers.entries()) {
    if (readsLayers) onStep?.(`reading layer ${i + 1} of ${image.layers.length}`);
    found.push(readsLayers ? await readFound(layer, i, expected, signal) : believed(layer));
  }
  onStep?.("comparing");
  const asFound: StoredImage = { ...image, layers: found.map(({ layer }) => layer) };
  const [before, after] = [expected.image, asFound].map(({ config }, i) =>
    parseObject(config.bytes, `the config of ${TITLES[i]}`),
  ) as [JsonObject, JsonObject];
  const config = diffConfigs(before, after);
  const { layers: changes, ownOfA, ownOfB } = diffLayers(expected.image, asFound);
  const pathsBefore = storePathsOf(before, expected.image);
  const pathsAfter = storePathsOf(after, asFound);
  const partners = partnersOf(ownOfA, ownOfB, changes.moved, pathsBefore, pathsAfter);
  for (const [i, j] of zipCommon(expected.image, asFound, ownOfA, ownOfB)) partners.set(j, i);
  const layers: VerifiedLayer[] = [];
  for (const [j, { layer, digest, problem, isReadable }] of found.entries()) {
    const i = partners.get(j);
    const target = i === undefined ? undefined : (expected.image.layers[i] as StoredLayer);
    const isSame = target?.diffId === layer.diffId;
    const status = target === undefined ? "unexpected" : isSame ? (ownOfB.has(j) ? "moved" : "same") : "different";
    layers.push({
      layer: j + 1,
      status: problem === undefined ? status : "damaged",
      diffId: layer.diffId,
      digest: digest ?? null,
      codec: layer.descriptor?.annotations?.[COMPRESSION_ANNOTATION] ?? null,
      samePacking: isSame ? samePacking(layer, digest, i === undefined ? undefined : expected.stored?.layers[i]) : null,
      expected: target === undefined ? null : { layer: (i as number) + 1, diffId: target.diffId },
      problem: problem ?? null,
      firstDifference:
        target === undefined || isSame || !isReadable ? null : ((await firstDifference(target, layer, signal)) ?? null),
    });
  }
  const matched = new Set(partners.values());
  const missing = changes.removed.filter(({ layer }) => !matched.has(layer - 1));
  // Whatever the image says of it: nobody knows what is in it.
  const isUnreadable = found.some(({ isReadable }) => !isReadable);
  const files = isUnreadable ? null : await diffFiles(expected.image, asFound, ownOfA, ownOfB, signal, TITLES);
  const configDigests = [expected.image.config.descriptor.digest, image.config.descriptor.digest] as const;
  const manifestDigests =
    expected.stored === undefined || image.manifest === undefined
      ? null
      : ([expected.stored.manifest.digest, image.manifest.descriptor.digest] as const);
  const isEqual = config.length === 0 && missing.length === 0 && layers.every(({ status }) => status === "same");
  const isExact =
    configDigests[0] === configDigests[1] &&
    (manifestDigests === null || manifestDigests[0] === manifestDigests[1]) &&
    layers.every(({ samePacking }) => samePacking === true);
  return {
    verified: isEqual && (expected.stored === undefined || isExact),
    layersRead: readsLayers,
    exact: expected.stored !== undefined,
    config,
    configDigests,
    manifestDigests,
    layers,
    missing,
    files,
    causes: await likelyCauses({ config, layers, pathsBefore, pathsAfter, expected }),
  };
}

/** How an image's own layers are packed, as far as it says: the top one is never a base image's. */
export function packingOf(image: StoredImage): Compression {
  const top = image.layers.at(-1);
  const codec = top?.descriptor?.annotations?.[COMPRESSION_ANNOTATION];
  return compressionIn(codec) ?? parseCompression(top?.compression ?? "none", "the image's layers");
}

/** The compression that a codec's name begins with; undefined where we have no such one. */
function compressionIn(codec: string | undefined): Compression | undefined {
  const [name = ""] = codec?.split(" ", 1) ?? [];
  if (!/^(gzip|zstd):\d+$/.test(name)) return undefined;
  try {
    return parseCompression(name, "the image's layers");
  } catch (error) {
    if (error instanceof OciNixError) return undefined;
    throw error;
  }
}

/** The codec that packs as the name says on this machine; undefined where we have no such one. */
export function codecHere(codec: string): string | undefined {
  const compression = compressionIn(codec);
  return compression && codecOf(compression);
}

function samePacking(
  { compression, descriptor }: StoredLayer,
  digest: Digest | undefined,
  stored: Descriptor | undefined,
): boolean | null {
  if (stored !== undefined) return digest === undefined ? null : digest === stored.digest;
  if (compression === "none") return true;
  const codec = descriptor?.annotations?.[COMPRESSION_ANNOTATION];
  return codec === undefined || codecHere(codec) === codec ? null : false;
}

interface FoundLayer {
  /** With the diffID that it has, whatever was recorded. */
  readonly layer: StoredLayer;
  /** Of the stored bytes. */
  readonly digest: Digest | undefined;
  /** Why it is not what the image says of it. */
  readonly problem?: string;
  readonly isReadable: boolean;
}

function believed(layer: StoredLayer): FoundLayer {
  return { layer, digest: layer.descriptor?.digest, isReadable: true };
}

async function readFound(
  layer: StoredLayer,
  index: number,
  expected: ExpectedImage,
  signal: AbortSignal | undefined,
): Promise<FoundLayer> {
  const visitor = { open: () => false, close: () => undefined };
  const title = `layer ${index + 1} of the image`;
  const sizes = expected.image.layers.filter(({ diffId }) => diffId === layer.diffId).map(({ blob }) => blob.size);
  const reading = await readLayer(layer, visitor, title, signal, Math.max(0, ...sizes));
  const { blobError, damage, diffId } = reading;
  if (blobError !== undefined && NOT_THE_IMAGE.includes(blobError.code)) throw blobError;
  const digest = reading.digest ?? layer.descriptor?.digest;
  const isDamaged = damage !== undefined || (blobError !== undefined && blobError.code !== "verification");
  const problem = blobError?.message ?? damage?.message;
  if (isDamaged) return { layer, digest, problem: problem as string, isReadable: false };
  if (problem === undefined && diffId === layer.diffId) return { layer, digest, isReadable: true };
  const blob = { ...layer.blob, writeTo: lenient(layer.blob.writeTo.bind(layer.blob), diffId) };
  return {
    layer: { ...layer, diffId, blob },
    digest,
    problem: problem ?? `unpacked it is ${diffId}, but the image config says ${layer.diffId}`,
    isReadable: true,
  };
}

/** Errors that say nothing of the image. */
const NOT_THE_IMAGE: readonly string[] = ["unavailable", "denied", "interrupted", "unsupported"];

type Write = StoredLayer["blob"]["writeTo"];

/** What was found out about the bytes is no reason not to give them. */
function lenient(write: Write, digest: Digest): Write {
  return async (out) => {
    try {
      return await write(out);
    } catch (error) {
      if (error instanceof OciNixError && error.code === "verification") return digest;
      throw error;
    }
  };
}

/** Layers that both have in the same order. */
function zipCommon(
  a: StoredImage,
  b: StoredImage,
  ownOfA: ReadonlySet<number>,
  ownOfB: ReadonlySet<number>,
): readonly (readonly [number, number])[] {
  const commonB = [...b.layers.keys()].filter((j) => !ownOfB.has(j));
  return [...a.layers.keys()].filter((i) => !ownOfA.has(i)).map((i, at) => [i, commonB[at] as number]);
}

type Paths = readonly (readonly string[] | undefined)[];

/** What the history says of each layer; nothing where it is not known which entry speaks of which. */
function storePathsOf(config: JsonObject, { layers }: StoredImage): Paths {
  const history = layerHistory(config);
  return history.length === layers.length ? history.map(storePathsIn) : [];
}

/** Which expected layer stands for which layer of the image, by the latter: of those that are not the same. */
function partnersOf(
  ownOfA: ReadonlySet<number>,
  ownOfB: ReadonlySet<number>,
  moved: readonly { readonly before: number; readonly after: number }[],
  pathsBefore: Paths,
  pathsAfter: Paths,
): Map<number, number> {
  const partners = new Map(moved.map(({ before, after }) => [after - 1, before - 1]));
  const left = new Set([...ownOfA].filter((i) => !moved.some(({ before }) => before === i + 1)));
  const pair = (isPartner: (i: number, j: number) => boolean) => {
    for (const j of ownOfB) {
      const i = partners.has(j) ? undefined : [...left].find((candidate) => isPartner(candidate, j));
      if (i === undefined) continue;
      partners.set(j, i);
      left.delete(i);
    }
  };
  const key = (paths: readonly string[] | undefined) => [...(paths ?? [])].sort().join(" ");
  pair((i, j) => key(pathsBefore[i]) !== "" && key(pathsBefore[i]) === key(pathsAfter[j]));
  // Layers that hold something of the same, then those at the same place.
  pair((i, j) => pathsBefore[i]?.some((path) => pathsAfter[j]?.includes(path)) === true);
  pair((i, j) => i === j);
  return partners;
}
