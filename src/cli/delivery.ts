import { isatty } from "node:tty";
import {
  type BlobCache,
  type Compression,
  cacheDirectory,
  type DeliveryObserver,
  type DigestCache,
  type ForeseenLayer,
  type ImagePlan,
  type ImageSummary,
  type ImageTarget,
  isStandardOutput,
  noCache,
  OciNixError,
  openBlobCache,
  openDigestCache,
  type PlanOptions,
  parseByteSize,
  parseCompression,
  planDockertoolsImage,
  planImage,
  planNix2containerImage,
  runInVirtualMachine,
  type TargetOptions,
  type TransportName,
} from "../index.js";
import { type FlagValues, type Invocation, list, number, text } from "./command.js";
import { IMAGE_FLAGS } from "./image-flags.js";
import { checkedSpecOf, inputOf, isDecided, whatIs } from "./spec-from-flags.js";
import { formatBytes, type ProgressState, printError, printOutput, showProgress, visible } from "./ui.js";

/** The caches that the flags ask for. */
export interface Caches {
  readonly cache: DigestCache;
  readonly blobCache: BlobCache | undefined;
  close(): void;
}

/** Opens the digest cache, and the blob cache where one is wanted. What is wrong with them is said once, and does no harm. */
export function openCaches(flags: FlagValues): Caches {
  const budget = text(flags, "blob-cache");
  const blobBytes = budget === undefined ? undefined : parseByteSize(budget, "--blob-cache");
  if (flags["no-cache"] === true) {
    if (text(flags, "cache-dir") !== undefined || blobBytes !== undefined) {
      throw new OciNixError("usage", "--no-cache contradicts --cache-dir and --blob-cache", { hint: "drop it" });
    }
    return { cache: noCache, blobCache: undefined, close: () => undefined };
  }
  const directory = cacheDirectory(text(flags, "cache-dir"));
  if (directory === undefined) return { cache: noCache, blobCache: undefined, close: () => undefined };
  const onProblem = (message: string) => {
    if (flags.quiet !== true && flags.json !== true) printError(`note: ${message}`);
  };
  const cache = openDigestCache(directory, { onProblem });
  const blobCache = blobBytes === undefined ? undefined : openBlobCache(directory, blobBytes, { onProblem });
  return { cache, blobCache, close: () => cache.close() };
}

/** How registries are to be reached. */
export function registryOptions(flags: FlagValues): Pick<TargetOptions, "tlsVerify" | "deadlineMs" | "mountFrom"> {
  const tlsVerify = text(flags, "tls-verify");
  const deadline = number(flags, "deadline");
  return {
    tlsVerify: tlsVerify === undefined ? undefined : tlsVerify === "true",
    deadlineMs: deadline === undefined ? undefined : deadline * 1000,
    mountFrom: list(flags, "mount-from"),
  };
}

/** How the image that `--previous` names is read; which one it was is said on standard error, and what commands say. */
export function previousOptions({ flags, signal }: Pick<Invocation, "flags" | "signal">): PlanOptions {
  const { tlsVerify, deadlineMs } = registryOptions(flags);
  const say = (line: string) => {
    if (flags.quiet !== true && flags.json !== true) printError(visible(line));
  };
  return {
    ...{ signal, tlsVerify, deadlineMs },
    onFollowed({ source, layers }) {
      const count = layers.reduce((sum, { storePaths }) => sum + storePaths.length, 0);
      if (flags.verbose === true) say(`follows ${source}: ${count} store paths in ${layers.length} layers`);
    },
    onMissing: (message) => say(`note: ${message}`),
    rootRunner: runInVirtualMachine,
    onCommandLine(line) {
      if (flags.verbose === true) say(line);
    },
  };
}

/** How places for writing are to be opened. */
export function targetOptions(
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
  { cache }: Caches,
): TargetOptions {
  const locations = { repositoriesOf: cache.repositoriesOf, remember: cache.rememberRepository };
  return { signal, locations, ...registryOptions(flags) };
}

/** Within one registry blobs are mounted from where they come from. */
export function mountSources(place: TransportName | undefined, names: readonly TransportName[]): readonly string[] {
  if (place?.transport !== "docker") return [];
  return names.some((name) => name.transport === "docker" && name.host === place.host) ? [place.repository] : [];
}

/** What `--compression` asks for; undefined where it is not given. */
export function compressionOf(flags: FlagValues): Compression | undefined {
  const value = text(flags, "compression");
  return value === undefined ? undefined : parseCompression(value, "--compression");
}

/** Runs something that writes images, showing progress meanwhile. @returns its result and the seconds it took */
export async function withProgress<T>(
  { flags }: Pick<Invocation, "flags">,
  run: (observer: DeliveryObserver) => Promise<T>,
): Promise<{ readonly result: T; readonly seconds: number }> {
  const counts = { bytes: 0, entries: 0 };
  const state: ProgressState = { layer: 0, layers: 0, counts };
  const start = performance.now();
  const stopProgress = showProgress(state, flags);
  try {
    const result = await run({
      progress: counts,
      onLayer: ({ title, size, index, count }) => {
        state.layer = index + 1;
        state.layers = count;
        if (flags.verbose === true && flags.json !== true)
          printError(`layer ${index + 1} of ${count}: ${formatBytes(size)}, ${title}`);
      },
    });
    return { result, seconds: (performance.now() - start) / 1000 };
  } finally {
    stopProgress();
  }
}

/** The image that INPUT and the flags amount to. @throws OciNixError `usage` where a flag contradicts the input */
export async function planOf({ inputs, flags, signal }: Invocation): Promise<ImagePlan> {
  const input = await inputOf(inputs, flags);
  if (!isDecided(input)) {
    const plan = await planImage(await checkedSpecOf(input, flags), previousOptions({ flags, signal }));
    return input.kind === "spec" ? { ...plan, archive: input.archive } : plan;
  }
  const allowed = new Set(["name", "tag", "store-root"]);
  const other = Object.keys(IMAGE_FLAGS).find((flag) => flags[flag] !== undefined && !allowed.has(flag));
  if (other !== undefined) {
    throw new OciNixError("usage", `--${other} cannot be combined with a ${whatIs(input)}, which decides it`, {
      hint: "change it in the Nix expression; --name, --tag and --store-root may be given",
    });
  }
  const options = {
    source: input.source,
    storeRoot: text(flags, "store-root") ?? "/",
    name: text(flags, "name"),
    tag: text(flags, "tag"),
    signal,
  };
  return input.kind === "dockertools-conf"
    ? await planDockertoolsImage(input.json, options)
    : await planNix2containerImage(input.json, options);
}

/** Says on standard error what went out. @param note what else there is to say in a line for people */
export function printSummary(summary: ImageSummary, seconds: number, flags: FlagValues, note = ""): void {
  if (flags.json === true) {
    printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  if (flags.quiet === true) return;
  const { repoTags, layers, entries, bytes, imageId } = summary;
  const title = visible(repoTags.join(", ")) || "image";
  const count = `${layers.length} ${layers.length === 1 ? "layer" : "layers"}${note}`;
  if (bytes === 0) {
    printError(`${title}: ${count}, ${imageId}`);
    return;
  }
  const rate = formatBytes(Math.round(bytes / seconds));
  printError(
    `${title}: ${count}, ${entries} entries, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${rate}/s), ${imageId}`,
  );
}

/** Prints what each layer of an image would need at each target. */
export async function printForeseen(
  image: {
    readonly repoTags: readonly string[];
    readonly layers: readonly ForeseenLayer[];
    readonly targets: readonly ImageTarget[];
  },
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
): Promise<void> {
  const { repoTags, layers } = image;
  const targets = image.targets.map(({ title }) => title);
  if (flags.json === true) {
    const json = layers.map(({ size = null, fates }) => ({ size, fates }));
    await printOutput(`${JSON.stringify({ repoTags, targets, layers: json }, undefined, 2)}\n`, signal);
    return;
  }
  const lines = targets.flatMap((title, i) => [
    `${visible(title)}\n`,
    ...layers.map((layer, index) => `  layer ${index + 1}: ${fateOf(layer, i)}\n`),
  ]);
  await printOutput(lines.join(""), signal);
}

function fateOf({ size, fates }: ForeseenLayer, target: number): string {
  const fate = fates[target];
  if (fate !== "uploads") return `${fate}${size === undefined ? "" : ` (${formatBytes(size)})`}`;
  return size === undefined ? "uploads, of a size that is known when it is made" : `uploads ${size} bytes`;
}

/** @throws OciNixError `usage` where an archive would be written to a terminal */
export function checkNoTerminal(names: readonly TransportName[]): void {
  if (!names.some(isStandardOutput) || !isatty(1)) return;
  throw new OciNixError("usage", "standard output is a terminal: an archive is not written to it", {
    hint: "pipe it on, or name a file",
  });
}
