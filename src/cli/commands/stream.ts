import { isatty } from "node:tty";
import {
  fdSink,
  type ImagePlan,
  OciNixError,
  planDockertoolsImage,
  planImage,
  type StreamSummary,
  streamPlannedImage,
} from "../../index.js";
import { type FlagValues, type Invocation, text } from "../command.js";
import { IMAGE_FLAGS } from "../flags.js";
import { checkedSpecOf, inputOf } from "../spec-from-flags.js";
import { formatBytes, type ProgressState, printError, showProgress } from "../ui.js";

const STDOUT = 1;

/** Streams an image to standard output. */
export default async function stream(invocation: Invocation): Promise<void> {
  const { flags, signal } = invocation;
  if (isatty(STDOUT)) {
    throw new OciNixError("usage", "standard output is a terminal: an archive is not written to it", {
      hint: "oci-nix stream … | docker load, or > image.tar",
    });
  }
  const plan = await planOf(invocation);
  const sink = fdSink(STDOUT, "standard output", signal);
  const counts = { bytes: 0, files: 0 };
  const state: ProgressState = { layer: 0, layers: plan.layers.length, counts };
  const start = performance.now();
  const stopProgress = showProgress(state, flags);
  let summary: StreamSummary;
  try {
    summary = await streamPlannedImage(plan, sink, {
      signal,
      observer: {
        progress: counts,
        onLayer: ({ title, size, index, count }) => {
          state.layer = index + 1;
          if (flags.verbose === true && flags.json !== true)
            printError(`layer ${index + 1} of ${count}: ${formatBytes(size)}, ${title}`);
        },
      },
    });
  } finally {
    stopProgress();
    sink.close();
  }
  printSummary(summary, (performance.now() - start) / 1000, flags);
}

async function planOf({ inputs, flags, signal }: Invocation): Promise<ImagePlan> {
  const input = inputOf(inputs, flags);
  if (input.kind !== "dockertools-conf") {
    return await planImage(checkedSpecOf(input, flags));
  }
  const allowed = new Set(["name", "tag", "store-root"]);
  const other = Object.keys(IMAGE_FLAGS).find((flag) => flags[flag] !== undefined && !allowed.has(flag));
  if (other !== undefined) {
    throw new OciNixError("usage", `--${other} cannot be combined with a dockerTools conf.json, which decides it`, {
      hint: "change it in the Nix expression; --name, --tag and --store-root may be given",
    });
  }
  const storeRoot = text(flags, "store-root") ?? "/";
  return await planDockertoolsImage(input.json, {
    source: input.source,
    storeRoot,
    name: text(flags, "name"),
    tag: text(flags, "tag"),
    signal,
  });
}

function printSummary(summary: StreamSummary, seconds: number, flags: FlagValues): void {
  if (flags.json === true) {
    printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  if (flags.quiet === true) return;
  const { repoTags, layers, files, bytes, imageId } = summary;
  const rate = formatBytes(Math.round(bytes / seconds));
  printError(
    `${repoTags.join(", ") || "image"}: ${layers.length} layers, ${files} files, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${rate}/s), ${imageId}`,
  );
}
