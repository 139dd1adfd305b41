import { checkSpec, formatClosure, OciNixError, readClosure } from "../../index.js";
import type { Command } from "../command.js";
import { CLOSURE_FLAGS, inputOf, specOf } from "../image-flags.js";
import { printOutput } from "../ui.js";

export const closureCommand: Command = {
  name: "closure",
  describe: "Print the closure graph as JSON",
  inputs: "INPUT..",
  flags: CLOSURE_FLAGS,
  async run({ inputs, flags, signal }) {
    const input = inputOf(inputs, flags);
    if (input.kind === "dockertools-conf") {
      throw new OciNixError(
        "usage",
        `${input.source} is a dockerTools conf.json, which holds layers but no closure graph`,
        {
          hint: "give store paths or a closure graph",
        },
      );
    }
    const { closure } = checkSpec(specOf(input, flags), input.kind === "spec" ? input.source : "the closure");
    await printOutput(formatClosure(await readClosure(closure)), signal);
  },
};
