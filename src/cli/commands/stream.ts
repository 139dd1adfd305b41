import { constants, fstatSync, readFileSync, statSync } from "node:fs";
import { isatty } from "node:tty";
import {
  fdSink,
  type ImagePlan,
  OciNixError,
  planDockertoolsImage,
  planImage,
  planNix2containerImage,
  type StreamSummary,
  streamPlannedImage,
} from "../../index.js";
import { type FlagValues, type Invocation, text } from "../command.js";
import { IMAGE_FLAGS } from "../flags.js";
import { checkedSpecOf, inputOf, isDecided, whatIs } from "../spec-from-flags.js";
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
  checkStdoutIsOpen();
  const plan = await planOf(invocation);
  const sink = fdSink(STDOUT, "standard output", signal);
  const counts = { bytes: 0, entries: 0 };
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

/**
 * Node opens /dev/null, for reading and writing, in place of a descriptor that was closed at the start; a shell's `> /dev/null` opens it
 * for writing only.
 * @throws OciNixError `output`
 */
function checkStdoutIsOpen(): void {
  let flags: string | undefined;
  try {
    if (fstatSync(STDOUT).rdev !== statSync("/dev/null").rdev) return;
    flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${STDOUT}`, "utf8"))?.[1];
  } catch {
    return;
  }
  if (flags !== undefined && (Number.parseInt(flags, 8) & constants.O_RDWR) !== 0) {
    throw new OciNixError("output", "standard output is closed: there is nowhere to write the archive to", {
      hint: "oci-nix stream … | docker load, or > image.tar",
    });
  }
}

async function planOf({ inputs, flags, signal }: Invocation): Promise<ImagePlan> {
  const input = inputOf(inputs, flags);
  if (!isDecided(input)) return await planImage(checkedSpecOf(input, flags));
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
    : planNix2containerImage(input.json, options);
}

function printSummary(summary: StreamSummary, seconds: number, flags: FlagValues): void {
  if (flags.json === true) {
    printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  if (flags.quiet === true) return;
  const { repoTags, layers, entries, bytes, imageId } = summary;
  const rate = formatBytes(Math.round(bytes / seconds));
  printError(
    `${repoTags.join(", ") || "image"}: ${layers.length} layers, ${entries} entries, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${rate}/s), ${imageId}`,
  );
}
