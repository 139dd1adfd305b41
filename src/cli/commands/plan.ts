import {
  DEFAULT_MAX_LAYERS,
  DEFAULT_STRATEGY,
  narSizeOf,
  planAllLayers,
  readSpecClosure,
  readSpecPrevious,
  storePathsOf,
} from "../../index.js";
import type { Invocation } from "../command.js";
import { previousOptions } from "../delivery.js";
import { closureSpecOf } from "../spec-from-flags.js";
import { formatBytes, printOutput } from "../ui.js";

/** Prints the layers a closure is split into. */
export default async function plan({ inputs, flags, signal }: Invocation): Promise<void> {
  const spec = closureSpecOf(inputs, flags);
  const closure = await readSpecClosure(spec);
  const previous = await readSpecPrevious(spec, previousOptions({ flags, signal }));
  const layers = planAllLayers(spec, closure, previous).map((plan) => {
    const storePaths = storePathsOf(plan);
    return { storePaths, narSize: narSizeOf(plan, closure), reason: plan.reason };
  });
  const [anyStrategy, anyLimit] = spec.pipeline === undefined ? [DEFAULT_STRATEGY, DEFAULT_MAX_LAYERS] : ["pipeline"];
  const { strategy = anyStrategy, maxLayers = anyLimit } = spec;
  if (flags.json === true) {
    await printOutput(`${JSON.stringify({ strategy, maxLayers, layers }, undefined, 2)}\n`, signal);
    return;
  }
  const lines = layers.map(({ storePaths, narSize, reason }, i) => {
    const size = narSize === undefined ? "?" : formatBytes(narSize);
    return `${String(i + 1).padStart(3)}  ${size.padStart(9)}  ${storePaths.length === 1 ? storePaths[0] : `${storePaths.length || "no"} store paths`}  (${reason})\n`;
  });
  await printOutput(lines.join(""), signal);
}
