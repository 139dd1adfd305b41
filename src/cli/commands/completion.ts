import { OciNixError } from "../../index.js";
import type { Command, CommandGroup, Invocation } from "../command.js";
import { formatBashCompletion } from "../completion/bash.js";
import { completionsOf } from "../completion/completions.js";
import { formatFishCompletion } from "../completion/fish.js";
import { formatZshCompletion } from "../completion/zsh.js";
import { printOutput } from "../ui.js";

const FORMATS = new Map([
  ["bash", formatBashCompletion],
  ["zsh", formatZshCompletion],
  ["fish", formatFishCompletion],
]);

/** Prints the completion script of a shell. @param commands all that there are, which are told as they know of this one */
export async function printCompletion(
  { inputs, signal }: Invocation,
  commands: readonly (Command | CommandGroup)[],
): Promise<void> {
  const [shell = "", ...others] = inputs;
  const format = others.length === 0 ? FORMATS.get(shell) : undefined;
  if (format === undefined) {
    const found = inputs.length === 0 ? "none is named" : `${inputs.join(" ")} is given`;
    throw new OciNixError("usage", `completion is for one of ${[...FORMATS.keys()].join(", ")}, and ${found}`, {
      hint: "oci-nix completion bash",
    });
  }
  await printOutput(format(completionsOf(commands)), signal);
}
