import { OciNixError, SPEC_SCHEMA } from "../../index.js";
import type { Invocation } from "../command.js";
import { printOutput } from "../ui.js";

/** Prints the JSON Schema of spec files. */
export default async function schema({ inputs, signal }: Invocation): Promise<void> {
  if (inputs.length > 0) throw new OciNixError("usage", `schema takes no input, but ${inputs.join(" ")} is given`);
  await printOutput(`${JSON.stringify(SPEC_SCHEMA, undefined, 2)}\n`, signal);
}
