import {
  checkSpec,
  DEFAULT_MAX_LAYERS,
  DEFAULT_STRATEGY,
  OciNixError,
  planSpecLayers,
  readClosure,
  storePathsOf,
} from "../../index.js";
import type { Command } from "../command.js";
import { CLOSURE_FLAGS, inputOf, LAYER_FLAGS, specOf } from "../image-flags.js";
import { formatBytes, printOutput } from "../ui.js";

export const planCommand: Command = {
  name: "plan",
  describe: "Show which store path goes to which layer",
  inputs: "INPUT..",
  flags: { ...LAYER_FLAGS, ...CLOSURE_FLAGS },
  async run({ inputs, flags, signal }) {
    const input = inputOf(inputs, flags);
    if (input.kind === "dockertools-conf") {
      throw new OciNixError("usage", `${input.source} is a dockerTools conf.json, whose layers are planned already`, {
        hint: "give store paths, a spec file or a closure graph",
      });
    }
    const spec = checkSpec(specOf(input, flags), input.kind === "spec" ? input.source : "the plan");
    const closure = await readClosure(spec.closure);
    const layers = planSpecLayers(spec, closure).map((plan) => {
      const storePaths = storePathsOf(plan);
      const sizes = storePaths.map((path) => closure.objects.get(path)?.narSize);
      const narSize = sizes.reduce(
        (sum, size) => (sum === undefined || size === undefined ? undefined : sum + size),
        0,
      );
      return { storePaths, narSize, reason: plan.reason };
    });
    const { strategy = DEFAULT_STRATEGY, maxLayers = DEFAULT_MAX_LAYERS } = spec;
    if (flags.json === true) {
      await printOutput(`${JSON.stringify({ strategy, maxLayers, layers }, undefined, 2)}\n`, signal);
      return;
    }
    const lines = layers.map(({ storePaths, narSize, reason }, i) => {
      const size = narSize === undefined ? "?" : formatBytes(narSize);
      return `${String(i + 1).padStart(3)}  ${size.padStart(9)}  ${storePaths.length === 1 ? storePaths[0] : `${storePaths.length} store paths`}  (${reason})\n`;
    });
    await printOutput(lines.join(""), signal);
  },
};
