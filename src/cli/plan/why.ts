import { explainPath, findInClosure, type PathExplanation, type StorePath } from "../../index.js";
import { visible } from "../ui.js";
import type { Planned } from "./planned.js";
import { counted, difference, percent, size } from "./text.js";

const SHOWN_PATHS = 10;
const SHOWN_LAYERS = 3;

/** Why one store path is in the image and where it is, for people or for programs. @throws OciNixError as {@link findInClosure} */
export function formatWhy(plan: Planned, text: string, isJson: boolean): string {
  const found = explainPath(plan.closure, plan.plans, findInClosure(plan.closure, text), plan.model);
  return isJson ? formatJson(plan, found) : `${lines(plan, found).map(visible).join("\n")}\n`;
}

function formatJson({ layers, update }: Planned, found: PathExplanation): string {
  const json = {
    ...found,
    chanceOfChange: Number(found.chanceOfChange.toFixed(6)),
    layers: found.layers.map((layer) => ({
      layer: layer + 1,
      reason: layers[layer]?.reason,
      fate: update?.fates[layer],
    })),
    elsewhere: found.elsewhere.map(({ layer, moreBytes }) => ({ layer: layer + 1, moreBytes: Math.round(moreBytes) })),
    alone: found.alone === undefined ? undefined : { moreBytes: Math.round(found.alone) },
  };
  return `${JSON.stringify(json, undefined, 2)}\n`;
}

function lines({ layers, update, closure }: Planned, found: PathExplanation): string[] {
  const { storePath, narSize, chanceOfChange, referrers, dependants, chain, references, dependencies } = found;
  const isRoot = closure.roots.includes(storePath);
  const where = found.layers.map((layer) => {
    const { storePaths = [], reason = "" } = layers[layer] ?? {};
    const company = storePaths.length === 1 ? "alone" : `one of ${storePaths.length}`;
    const fate = update === undefined ? "" : `, ${update.fates[layer]}`;
    return `in layer ${layer + 1} of ${layers.length}${fate}, ${company}: ${reason}`;
  });
  const best = found.elsewhere.slice(0, SHOWN_LAYERS);
  return [
    storePath,
    `  ${size(narSize)}, changed by ${percent(chanceOfChange)} of releases`,
    ...(where.length === 0 ? ["  in no layer: it is excluded"] : where.map((line) => `  ${line}`)),
    "",
    isRoot && dependants === 0
      ? "It is a root: nothing refers to it"
      : `Referred to by ${referrers.length}, and by ${dependants} in all${isRoot ? "; it is a root as well" : ""}`,
    ...listed(referrers),
    ...(chain.length > 1 ? ["", "A shortest way to it", ...chain.map((path, i) => `  ${"  ".repeat(i)}${path}`)] : []),
    "",
    references.length === 0 ? "It refers to nothing" : `Refers to ${references.length}, and to ${dependencies} in all`,
    ...listed(references),
    ...(best.length === 0 && found.alone === undefined ? [] : ["", "A release would be expected to push"]),
    ...best.map(
      ({ layer, moreBytes }) =>
        `  ${difference(moreBytes).padStart(9)}  in layer ${layer + 1} (${counted(layers[layer]?.storePaths.length ?? 0, "store path")})`,
    ),
    ...(found.alone === undefined ? [] : [`  ${difference(found.alone).padStart(9)}  in a layer of its own, one more`]),
  ];
}

function listed(paths: readonly StorePath[]): string[] {
  const more = paths.length - SHOWN_PATHS;
  return [...paths.slice(0, SHOWN_PATHS).map((path) => `  ${path}`), ...(more > 0 ? [`  and ${more} more`] : [])];
}
