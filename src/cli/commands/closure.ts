import { formatClosure, readSpecClosure } from "../../index.js";
import type { Invocation } from "../command.js";
import { closureSpecOf } from "../spec-from-flags.js";
import { printOutput } from "../ui.js";

/** Prints a closure graph. */
export default async function closure({ inputs, flags, signal }: Invocation): Promise<void> {
  const spec = await closureSpecOf(inputs, flags);
  await printOutput(formatClosure(await readSpecClosure(spec)), signal);
}
