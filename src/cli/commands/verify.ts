import {
  type Compression,
  codecHere,
  type FirstDifference,
  formatJson,
  type ImagePlan,
  type ImageSource,
  type ImageVerification,
  noCache,
  OciNixError,
  onlyImage,
  packingOf,
  parseCompression,
  type RebuiltImage,
  rebuildImage,
  type StoredImage,
  toJson,
  type VerifiedLayer,
  verifyImage,
} from "../../index.js";
import type { Invocation } from "../command.js";
import { openCaches, planOf } from "../delivery.js";
import { DIFFERENT, describeConfig, describeFiles, listLimit } from "../differences.js";
import { withSource } from "../sources.js";
import { formatBytes, printOutput, showSteps, visible } from "../ui.js";

/** Builds an image once more, writing nothing, and prints what of another one is not as it should be. */
export default async function verify({ inputs: [place, ...inputs], ...rest }: Invocation): Promise<number> {
  const { flags, signal } = rest;
  if (place === undefined) {
    throw new OciNixError("usage", "no image is named", {
      hint: "oci-nix verify IMAGE INPUT…: oci:DIR:TAG, docker://…",
    });
  }
  checkStandardInput(place, inputs, flags);
  checkCombination(flags);
  const compare = async (source: ImageSource): Promise<ImageVerification> => {
    const image = onlyImage(source, place);
    const steps = showSteps(flags);
    try {
      steps.onStep("planning");
      const plan = await planOf({ ...rest, inputs });
      try {
        steps.onStep("making the layers that the input gives");
        const expected = await rebuild(plan, image, rest, steps.progress);
        const readsLayers = flags["no-read"] !== true;
        return await verifyImage(image, expected, { signal, readsLayers, onStep: steps.onStep });
      } finally {
        plan.close();
      }
    } finally {
      steps.stop();
    }
  };
  const found = await withSource(place, rest, undefined, compare, { takesDamaged: true });
  await printOutput(flags.json === true ? `${formatJson(toJson(found))}\n` : describe(found, flags), signal);
  return found.verified ? 0 : DIFFERENT;
}

type Flags = Invocation["flags"];

function checkStandardInput(place: string, inputs: readonly string[], flags: Flags): void {
  const isNamed = [place, ...inputs, flags.closure].filter((name) => name === "-").length;
  if (isNamed < 2) return;
  throw new OciNixError("usage", "standard input is named twice", {
    hint: "- stands for one archive or closure graph",
  });
}

function checkCombination(flags: Flags): void {
  if (flags.compression !== undefined && flags.exact !== true) {
    throw new OciNixError("usage", "--compression is for --exact: else it does not matter how layers are packed", {
      hint: "give --exact, too, or drop it",
    });
  }
  if (flags["trust-cache"] !== true && flags["cache-dir"] !== undefined) {
    throw new OciNixError("usage", "--cache-dir is for --trust-cache: else the cache is not used", { hint: "drop it" });
  }
  if (flags["trust-cache"] === true && flags.exact === true) {
    throw new OciNixError("usage", "--exact makes all layers, so --trust-cache contradicts it", { hint: "drop one" });
  }
}

async function rebuild(
  plan: ImagePlan,
  image: StoredImage,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
  progress: { bytes: number; entries: number },
): Promise<RebuiltImage> {
  const compression = flags.exact === true ? packing(plan, image, flags) : undefined;
  const caches = flags["trust-cache"] === true ? openCaches(flags) : undefined;
  try {
    return await rebuildImage(plan, { signal, compression, progress, cache: caches?.cache ?? noCache });
  } finally {
    caches?.close();
  }
}

function packing(plan: ImagePlan, image: StoredImage, { compression }: Flags): Compression {
  if (typeof compression === "string") return parseCompression(compression, "--compression");
  return plan.compression ?? packingOf(image);
}

function describe(found: ImageVerification, flags: Flags): string {
  const { problems, config, layers, missing, files, filesProblem, causes } = found;
  const lines = [
    ...problems.map((problem) => `image   ! ${problem}`),
    ...describeConfig(config),
    ...layers.flatMap((layer) => describeLayer(layer, found, flags.verbose === true)),
    ...missing.map(
      ({ layer, diffId, size }) => `layer   - ${layer}: ${diffId}, ${formatBytes(size)}, is not in the image`,
    ),
    ...describeSame(found),
    ...(files === null ? [`files are not compared: ${filesProblem}`] : describeFiles(files, listLimit(flags))),
    ...describeDocuments(found),
    ...causes.map(({ message }) => `likely  ${message}`),
    verdict(found),
  ];
  return lines.map((line) => `${visible(line)}\n`).join("");
}

function describeLayer(layer: VerifiedLayer, { exact }: ImageVerification, isVerbose: boolean): string[] {
  const { layer: number, status, diffId, expected, problem, firstDifference, samePacking } = layer;
  const difference = firstDifference === null ? [] : [`layer   ~ ${number}: ${describeDifference(firstDifference)}`];
  switch (status) {
    case "damaged":
    case "unreadable":
      return [`layer   ! ${number}: ${problem}`, ...difference];
    case "unexpected":
      return [`layer   + ${number}: ${diffId}, is not in what the input gives`];
    case "moved":
      return [`layer   ~ ${expected?.layer} -> ${number}: ${diffId}`];
    case "different":
      return [`layer   ~ ${number}: ${expected?.diffId} -> ${diffId}`, ...difference];
    case "same":
      if (exact && samePacking !== true) return [`layer   ~ ${number}: ${diffId}, ${describePacking(layer)}`];
      return isVerbose ? [`layer   = ${number}: ${diffId}, ${packed(layer)}`] : [];
  }
}

/** In which way a layer is not packed as it is to be. */
function describePacking(layer: VerifiedLayer): string {
  if (layer.samePacking === null) return "packed in an unknown way, as it was not read";
  if (layer.compression === "none") return "not compressed, though it is to be";
  return `packed otherwise: ${packed(layer)}`;
}

function describeDifference({ offset, where, before, after, fields }: FirstDifference): string {
  const at = `the archives differ from byte ${offset} on`;
  if (before === null && after === null) {
    return `${at}, after the last entry: there is something else behind the end of the archive, or more or less of it`;
  }
  if (before === null || after === null) {
    return `${at}, where ${before === null ? "the input's" : "the image's"} ends and the other has ${before ?? after}`;
  }
  if (where === "contents") return `${at}, in the contents of ${after}`;
  const changes = fields.map((change) => `${change.field} ${change.before || "none"} -> ${change.after || "none"}`);
  return `${at}, in the header of ${after}${changes.length === 0 ? "" : `: ${changes.join(", ")}`}`;
}

/** What packed a layer, and what would pack it here. */
function packed({ codec, compression }: VerifiedLayer): string {
  if (codec === null) return compression === "none" ? "not compressed" : `${compression}, by an unknown program`;
  const here = codecHere(codec);
  if (here === codec) return codec;
  return `${codec} (here ${here ?? "there is no such codec"})`;
}

function describeSame({ layers }: ImageVerification): string[] {
  const same = layers.filter(({ status }) => status === "same");
  if (same.length === 0) return [];
  const others = same.filter(({ codec }) => codec !== null && codecHere(codec) !== codec);
  const [first] = others;
  const packing = first === undefined ? "" : `, ${others.length} packed by another codec: ${packed(first)}`;
  return [`layer   = ${same.length} ${same.length === 1 ? "layer is" : "layers are"} the same${packing}`];
}

function describeDocuments(found: ImageVerification): string[] {
  const { exact, problems, config, configDigests, manifestDigests, layers, missing } = found;
  const [before, after] = configDigests;
  // What it says of the layers is a part of it.
  const saysTheSame =
    [...problems, ...config, ...missing].length === 0 && layers.every(({ status }) => status === "same");
  const isRewritten = before !== after && saysTheSame;
  const lines = isRewritten ? [`config  ${exact ? "~" : "="} says the same in other bytes: ${before} -> ${after}`] : [];
  if (manifestDigests === null || manifestDigests[0] === manifestDigests[1]) return lines;
  return [...lines, `manifest ~ ${manifestDigests[0]} -> ${manifestDigests[1]}`];
}

function verdict({ verified, exact, layersRead, files }: ImageVerification): string {
  const believed = layersRead ? "" : ", if its layers are what it says they are: they were not read";
  if (verified) return `the image is what the input gives${exact ? ", to the byte" : ""}${believed}`;
  const count = files === null ? 1 : files.added.length + files.removed.length + files.changed.length;
  return count === 0
    ? "the image is not what the input gives, though its files are"
    : "the image is not what the input gives";
}
