import type { Compression } from "../core/compression.js";
import { codecOf, parseCompression } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { type ErrorCode, OciNixError } from "../core/errors.js";
import type { JsonObject } from "../core/json.js";
import { COMPRESSION_ANNOTATION, type Descriptor } from "../oci/manifest.js";
import type { StoredImage, StoredLayer } from "../transport/image.js";
import { likelyCauses } from "./causes.js";
import { diffConfigs } from "./diff-config.js";
import { diffFiles, type FilesDiff } from "./diff-files.js";
import { diffLayers } from "./diff-layers.js";
import { layerHistory, parseObject, storePathsIn } from "./documents.js";
import { firstDifference } from "./first-difference.js";
import { believedLayer, type FoundLayer, readFoundLayer } from "./found-layer.js";
import type { ExpectedImage, ImageVerification, VerifiedLayer } from "./verification.js";

/** How far a verification goes. */
export interface VerifyOptions {
  /**
   * Whether all layers of the image are read (by default), or are believed to be what its manifest and config say, where these say that
   * they are as expected.
   */
  readonly readsLayers?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what is done next. */
  readonly onStep?: ((step: string) => void) | undefined;
}

const TITLES = ["what the input gives", "the image"] as const;

/**
 * Compares an image with what it is to be: its layers, unless told otherwise, are read whole, and every digest is computed again.
 * What differs is a result, not an error, as is what is wrong with the image; it is to be opened with `takesDamaged`.
 * @throws OciNixError `unavailable`, `denied` where the image cannot be reached; as {@link ExpectedImage} where what is expected cannot be made
 */
export async function verifyImage(
  image: StoredImage,
  expected: ExpectedImage,
  options: VerifyOptions = {},
): Promise<ImageVerification> {
  const { readsLayers = true, signal, onStep } = options;
  const found: FoundLayer[] = [];
  for (const [i, layer] of image.layers.entries()) {
    const twins = expected.image.layers.filter(({ diffId }) => diffId === layer.diffId);
    if (!readsLayers && layer.problem === undefined && twins.length > 0) {
      found.push(believedLayer(layer));
      continue;
    }
    onStep?.(`reading layer ${i + 1} of ${image.layers.length}`);
    const expectedSize = Math.max(0, ...twins.map(({ blob }) => blob.size));
    found.push(await readFoundLayer(layer, `layer ${i + 1} of ${TITLES[1]}`, expectedSize, signal));
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
  for (const [j, { layer, digest, problem, contents }] of found.entries()) {
    const i = partners.get(j);
    const target = i === undefined ? undefined : (expected.image.layers[i] as StoredLayer);
    const isSame = target?.diffId === layer.diffId;
    const status = target === undefined ? "unexpected" : isSame ? (ownOfB.has(j) ? "moved" : "same") : "different";
    layers.push({
      layer: j + 1,
      status: problem === undefined ? status : contents === "unreadable" ? "unreadable" : "damaged",
      diffId: layer.diffId,
      digest: digest ?? null,
      compression: contents === "unreadable" ? null : layer.compression,
      codec: layer.descriptor?.annotations?.[COMPRESSION_ANNOTATION] ?? null,
      samePacking: isSame ? samePacking(layer, digest, i === undefined ? undefined : expected.stored?.layers[i]) : null,
      expected: target === undefined ? null : { layer: (i as number) + 1, diffId: target.diffId },
      problem: problem ?? null,
      firstDifference:
        target === undefined || isSame || contents !== "readable"
          ? null
          : ((await firstDifference(target, layer, signal)) ?? null),
    });
  }
  const matched = new Set(partners.values());
  const missing = changes.removed.filter(({ layer }) => !matched.has(layer - 1));
  const { files, filesProblem } = await compareFiles(found, () =>
    diffFiles(expected.image, asFound, ownOfA, ownOfB, signal, TITLES),
  );
  const problems = (image.problems ?? []).map(({ message }) => message);
  const configDigests = [expected.image.config.descriptor.digest, image.config.descriptor.digest] as const;
  const manifestDigests =
    expected.stored === undefined || image.manifest === undefined
      ? null
      : ([expected.stored.manifest.digest, image.manifest.descriptor.digest] as const);
  const isEqual =
    problems.length === 0 &&
    config.length === 0 &&
    missing.length === 0 &&
    layers.every(({ status }) => status === "same");
  const isExact =
    configDigests[0] === configDigests[1] &&
    (manifestDigests === null || manifestDigests[0] === manifestDigests[1]) &&
    layers.every(({ samePacking }) => samePacking === true);
  return {
    verified: isEqual && (expected.stored === undefined || isExact),
    layersRead: readsLayers,
    exact: expected.stored !== undefined,
    problems,
    config,
    configDigests,
    manifestDigests,
    layers,
    missing,
    files,
    filesProblem,
    causes: await likelyCauses({ config, layers, pathsBefore, pathsAfter, expected }),
  };
}

/** What readers of an image's files say of an image in which there can be no such files. */
const OF_THE_FILES: readonly ErrorCode[] = ["invalid-input", "limit", "not-found", "verification"];

async function compareFiles(
  found: readonly FoundLayer[],
  compare: () => Promise<FilesDiff>,
): Promise<Pick<ImageVerification, "files" | "filesProblem">> {
  // Whatever the image says of it: nobody knows what is in it.
  const closed = found.findIndex(({ contents }) => contents !== "readable");
  if (closed >= 0) return { files: null, filesProblem: `layer ${closed + 1} of ${TITLES[1]} cannot be read` };
  try {
    return { files: await compare(), filesProblem: null };
  } catch (error) {
    if (!(error instanceof OciNixError) || !OF_THE_FILES.includes(error.code)) throw error;
    return { files: null, filesProblem: error.message };
  }
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
