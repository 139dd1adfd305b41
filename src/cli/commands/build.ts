import { buildOciLayout, OciNixError, parseTransport } from "../../index.js";
import { type Invocation, text } from "../command.js";
import { deliver, planOf } from "../delivery.js";
import { printOutput } from "../ui.js";

/** Builds an image into an OCI layout and prints the digest of its manifest. */
export default async function build(invocation: Invocation): Promise<void> {
  const { flags, signal } = invocation;
  const to = text(flags, "to");
  if (to === undefined) throw new OciNixError("usage", "--to is missing", { hint: "--to oci:DIR:TAG" });
  const target = parseTransport(to);
  const plan = await planOf(invocation);
  let manifest = "";
  await deliver(plan, invocation, async (options) => {
    const summary = await buildOciLayout(plan, target, options);
    manifest = summary.manifest;
    return summary;
  });
  await printOutput(`${manifest}\n`, signal);
}
