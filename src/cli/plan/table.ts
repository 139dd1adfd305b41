import type { MeasuredBlob, MeasuredImage, Update } from "../../index.js";
import { visible } from "../ui.js";
import type { BudgetResult } from "./budget.js";
import { type Planned, ratio, total } from "./planned.js";
import { columns, counted, percent, size } from "./text.js";

/** What the layers are, a line each, and what all of them come to. */
export function formatTable(plan: Planned, exact: MeasuredImage | undefined): string {
  const { layers, update } = plan;
  const heading = [
    "layer",
    exact === undefined ? "bytes" : "packed",
    "changes",
    "per release",
    ...(update === undefined ? [] : ["update"]),
    "holds",
    "why",
  ];
  const rows = layers.map(({ storePaths, narSize, chanceOfChange, expectedBytes, reason }, i) => [
    String(i + 1),
    size(exact === undefined ? narSize : exact.layers[i]?.size),
    percent(chanceOfChange),
    size(narSize === undefined ? undefined : expectedBytes),
    ...(update === undefined ? [] : [fateOf(plan, exact, i)]),
    storePaths.length === 1 ? (storePaths[0] as string) : `${storePaths.length || "no"} store paths`,
    reason,
  ]);
  const right = new Set(["layer", "bytes", "packed", "changes", "per release"]);
  return `${columns(heading, rows, right)}\n${summary(plan, exact).map(visible).join("\n")}\n`;
}

function fateOf({ update }: Planned, exact: MeasuredImage | undefined, index: number): string {
  if (exact?.layers[index] !== undefined) return exact.layers[index].isHeld ? "kept" : "uploaded";
  return update?.fates[index] ?? "";
}

function summary({ layers, base, update, advice }: Planned, exact: MeasuredImage | undefined): string[] {
  const bytes = total(layers.map(({ narSize }) => narSize));
  const expected = bytes === undefined ? undefined : total(layers.map(({ expectedBytes }) => expectedBytes));
  const paths = new Set(layers.flatMap(({ storePaths }) => storePaths)).size;
  const lines = [
    `${counted(layers.length, "layer")} of ${counted(paths, "store path")}, ${size(bytes)}${base === undefined ? "" : `, on the ${counted(base.layers, "layer")} of ${base.source}`}; a release is expected to push ${size(expected)}`,
  ];
  if (update !== undefined) lines.push(`update of ${update.source}:`, ...updateLines(update, exact));
  if (advice !== undefined) {
    const { savedPerRelease, costNow, paysAfter } = advice;
    lines.push(
      `a fresh split, without --previous, would save ${size(savedPerRelease)} a release and cost ${size(costNow)} now: it pays after ${counted(paysAfter, "release")}`,
    );
  }
  if (exact !== undefined) {
    lines.push(
      `packed by ${exact.codec}: ${exact.uploadBytes} bytes of blobs to upload (layers ${exact.uploadBytes - exact.configBytes}, config ${exact.configBytes}), and ${exact.manifest.size} of the manifest`,
    );
  }
  return lines;
}

/** What the update comes to: by bytes where they were made, else by store paths. */
function updateLines({ kept, uploaded, dropped, idealBytes }: Update, exact: MeasuredImage | undefined): string[] {
  const held = exact?.layers.filter(({ isHeld }) => isHeld);
  const sent = exact?.layers.filter(({ isHeld }) => !isHeld);
  const amount = (blobs: readonly MeasuredBlob[]) =>
    `${counted(blobs.length, "layer")}, ${size(total(blobs.map((blob) => blob.size)))} packed`;
  const of = idealBytes === 0 ? "" : `: ${percent(ratio(uploaded.bytes, idealBytes))} of the ideal`;
  const lacking = `as ${size(idealBytes)} are in store paths that it lacks`;
  return [
    `  keeps    ${held === undefined ? `${counted(kept.layers, "layer")}, ${size(kept.bytes)}` : amount(held)}`,
    `  uploads  ${sent === undefined ? `${counted(uploaded.layers, "layer")}, ${size(uploaded.bytes)}${of}, ${lacking}` : amount(sent)}`,
    `  drops    ${counted(dropped.layers, "layer")}, ${size(dropped.bytes)} as stored there`,
  ];
}

/** Everything there is, for programs. */
export function formatPlanJson(
  { strategy, maxLayers, base, layers, isFirst, update, advice }: Planned,
  exact: MeasuredImage | undefined,
  budgets: readonly BudgetResult[],
): string {
  const json = {
    strategy,
    maxLayers,
    base,
    layers: layers.map((layer, i) => ({
      ...layer,
      chanceOfChange: Number(layer.chanceOfChange.toFixed(6)),
      fate: update?.fates[i],
      blob: exact?.layers[i],
    })),
    // Asked for, and not there: said where standard error is not read.
    isFirst: isFirst || undefined,
    update: update && { ...update, fates: undefined, ideal: ratio(update.uploaded.bytes, update.idealBytes), advice },
    exact: exact && { ...exact, layers: undefined },
    budgets: budgets.length === 0 ? undefined : budgets,
  };
  return `${JSON.stringify(json, undefined, 2)}\n`;
}
