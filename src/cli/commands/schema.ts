import { DISK_SPEC_SCHEMA, OciNixError, SPEC_SCHEMA } from "../../index.js";
import type { Invocation } from "../command.js";
import { printOutput } from "../ui.js";

/** Prints the JSON Schema of spec files, or of those of disk images. */
export default async function schema({ inputs, signal }: Invocation): Promise<void> {
  const isOfDisks = inputs.length === 1 && inputs[0] === "disk";
  if (inputs.length > 0 && !isOfDisks) {
    throw new OciNixError("usage", `schema takes no input but disk, and ${inputs.join(" ")} is given`);
  }
  await printOutput(`${JSON.stringify(isOfDisks ? DISK_SPEC_SCHEMA : SPEC_SCHEMA, undefined, 2)}\n`, signal);
}
