import {
  type BlobDigests,
  blobDigestsOf,
  formatPlanPage,
  type ImageSpec,
  linuxPlatform,
  type MeasuredImage,
  measurePlannedImage,
  OciNixError,
  onlyImage,
  parseCompression,
  planImage,
  writeOutput,
} from "../../index.js";
import { type FlagValues, type Invocation, list, text } from "../command.js";
import { compressionOf, openCaches, registryOptions, withProgress } from "../delivery.js";
import { type BudgetResult, checkBudgets, overBudget, parseBudget } from "../plan/budget.js";
import { compareStrategies, formatComparison, formatComparisonJson, strategiesOf } from "../plan/compare.js";
import { type Planned, planned } from "../plan/planned.js";
import { formatPlanJson, formatTable } from "../plan/table.js";
import { formatWhy } from "../plan/why.js";
import { withSource } from "../sources.js";
import { closureSpecOf } from "../spec-from-flags.js";
import { printOutput, reportError } from "../ui.js";

/** Exit code for a plan that is over budget. */
const OVER_BUDGET = 3;

/** Flags that ask for another result than the layers, and those that each of them goes without. */
const ALONE: Readonly<Record<string, readonly string[]>> = {
  why: ["compare", "exact", "budget", "html"],
  compare: ["exact", "budget", "html", "previous", "strategy", "layering-pipeline", "one-layer"],
};

/** Prints the layers a closure is split into, and what can be said of them. */
export default async function plan(invocation: Invocation): Promise<number> {
  const { inputs, flags, signal } = invocation;
  checkFlags(flags);
  const budgets = (list(flags, "budget") ?? []).map(parseBudget);
  const spec = await closureSpecOf(inputs, flags);
  const isJson = flags.json === true;
  const compare = text(flags, "compare");
  if (compare !== undefined) {
    const history = list(flags, "history") ?? [];
    const compared = await compareStrategies(spec, strategiesOf(compare), history);
    const result = isJson ? formatComparisonJson(compared, spec.maxLayers) : formatComparison(compared, history.length);
    await printOutput(result, signal);
    return 0;
  }
  const found = await planned(spec, invocation);
  const why = text(flags, "why");
  if (why !== undefined) {
    await printOutput(formatWhy(found, why, isJson), signal);
    return 0;
  }
  const exact = flags.exact === true ? await measured(spec, found, invocation) : undefined;
  const results: readonly BudgetResult[] = checkBudgets(budgets, found, exact);
  const html = text(flags, "html");
  if (html !== undefined) await writeOutput(html, formatPlanPage(found), signal);
  await printOutput(isJson ? formatPlanJson(found, exact, results) : formatTable(found, exact), signal);
  const error = overBudget(budgets, results, found);
  if (error === undefined) return 0;
  reportError(error, flags);
  return OVER_BUDGET;
}

/** @throws OciNixError `usage` for flags that do not go together */
function checkFlags(flags: FlagValues): void {
  for (const [flag, others] of Object.entries(ALONE)) {
    const other = others.find((name) => flags[name] !== undefined);
    if (flags[flag] === undefined || other === undefined) continue;
    throw new OciNixError("usage", `--${flag} and --${other} do not go together`, { hint: "give one of them" });
  }
  if (flags.html === "-") {
    throw new OciNixError("usage", "--html takes a file: standard output is the plan's", { hint: "--html plan.html" });
  }
  if (flags.history !== undefined && flags.compare === undefined) {
    throw new OciNixError("usage", "--history is for --compare", { hint: "--compare names the strategies" });
  }
  if (flags.compression !== undefined && flags.exact === undefined) {
    throw new OciNixError("usage", "--compression is for --exact: other sizes are those of NARs", {
      hint: "add --exact",
    });
  }
}

/** The image as a push of the same input would send it, where the previous image is there; its layers without those of the base. */
async function measured(spec: ImageSpec, { previous, base }: Planned, invocation: Invocation): Promise<MeasuredImage> {
  const { flags, signal } = invocation;
  const held = previous === undefined ? undefined : await previousBlobs(spec, invocation);
  const image = await planImage(spec, { signal, ...registryOptions(flags) });
  // As build and push do where the previous image is.
  const usual = spec.previous === undefined || spec.previous.startsWith("docker://") ? "gzip" : "none";
  const compression = compressionOf(flags) ?? spec.compression ?? parseCompression(usual, "--compression");
  const { cache, blobCache, close } = openCaches(flags);
  try {
    const { result } = await withProgress(invocation, (observer) =>
      measurePlannedImage(image, held, { signal, compression, cache, blobCache, observer }),
    );
    return { ...result, layers: result.layers.slice(base?.layers ?? 0) };
  } finally {
    close();
  }
}

/** Digests of what is there with the previous image. */
async function previousBlobs({ previous = "", ...spec }: ImageSpec, invocation: Invocation): Promise<BlobDigests> {
  if (!/^[a-z-]+:/.test(previous)) {
    throw new OciNixError("usage", `--exact cannot tell which blobs are where ${previous} is`, {
      hint: "name the previous image as docker://NAME:TAG, oci:DIR:TAG or docker-archive:FILE",
    });
  }
  const flags = { ...invocation.flags, platform: linuxPlatform(spec) };
  return await withSource(previous, { ...invocation, flags }, undefined, async (source) =>
    blobDigestsOf(onlyImage(source, previous)),
  );
}
