import {
  buildPlannedImage,
  isStandardOutput,
  OciNixError,
  openTargets,
  parseTransport,
  type TransportName,
} from "../../index.js";
import { type FlagValues, type Invocation, list } from "../command.js";
import { compressionOf, openCaches, planOf, printSummary, withProgress } from "../delivery.js";
import { printOutput } from "../ui.js";

/** Builds an image into one or several places and prints the digest of its manifest. */
export default async function build(invocation: Invocation): Promise<void> {
  const { flags, signal } = invocation;
  const names = targetsOf(flags);
  const compression = compressionOf(flags);
  const plan = await planOf(invocation);
  const caches = openCaches(flags);
  try {
    const { result, seconds } = await withProgress(invocation, async (observer) => {
      const targets = await openTargets(names, { signal });
      return await buildPlannedImage(plan, targets, { signal, observer, compression, ...caches });
    });
    const made = result.layers.filter(({ written }) => written).length;
    printSummary(result, seconds, flags, made === result.layers.length ? "" : ` (${made} made, the others were there)`);
    // Standard output is the image's, where it goes there.
    if (!names.some(isStandardOutput)) await printOutput(`${result.manifest}\n`, signal);
  } finally {
    caches.close();
  }
}

function targetsOf(flags: FlagValues): readonly TransportName[] {
  const to = list(flags, "to");
  if (to === undefined) throw new OciNixError("usage", "--to is missing", { hint: "--to oci:DIR:TAG" });
  return to.map(parseTransport);
}
