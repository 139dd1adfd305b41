import {
  type BuildOptions,
  buildPlannedImage,
  checkNotOverwritten,
  foreseeBuild,
  type ImagePlan,
  type ImageTarget,
  isStandardOutput,
  OciNixError,
  openTargets,
  parseCompression,
  parseTransport,
  type TransportName,
} from "../../index.js";
import { type Invocation, list } from "../command.js";
import {
  type Caches,
  checkNoTerminal,
  compressionOf,
  mountSources,
  openCaches,
  planOf,
  printForeseen,
  printSummary,
  targetOptions,
  withProgress,
} from "../delivery.js";
import { printOutput } from "../ui.js";

/** Builds an image into one or several places and prints the digest of its manifest. */
export default async function build(invocation: Invocation): Promise<void> {
  const to = list(invocation.flags, "to");
  if (to === undefined) throw new OciNixError("usage", "--to is missing", { hint: "--to oci:DIR:TAG" });
  await buildTo(to, invocation);
}

/** Builds an image into repositories of registries, which are named after the input. */
export async function push({ inputs, ...invocation }: Invocation): Promise<void> {
  const to = inputs.filter((input) => input.startsWith("docker://"));
  if (to.length === 0) {
    throw new OciNixError("usage", "push is not told where to", { hint: "oci-nix push INPUT docker://NAME:TAG" });
  }
  await buildTo(to, { ...invocation, inputs: inputs.filter((input) => !to.includes(input)) });
}

/** Builds an image into places. @param planImage by default what INPUT and the flags amount to */
export async function buildTo(to: readonly string[], invocation: Invocation, planImage = planOf): Promise<void> {
  const { flags, signal } = invocation;
  const names = to.map(parseTransport);
  checkNoTerminal(names);
  const plan = await planImage(invocation);
  const asked = compressionOf(flags) ?? plan.compression;
  // What goes over the network is packed, unless somebody says otherwise.
  const isPushed = names.some(({ transport }) => transport === "docker");
  const compression = asked ?? (isPushed ? parseCompression("gzip", "--compression") : undefined);
  const caches = openCaches(flags);
  const options = { signal, compression, cache: caches.cache, blobCache: caches.blobCache };
  try {
    if (flags["dry-run"] === true) return await foretell(plan, names, invocation, caches, options);
    const { result, seconds } = await withProgress(invocation, async (observer) => {
      const targets = await openPlaces(plan, names, invocation, caches);
      return await buildPlannedImage(plan, targets, { ...options, observer });
    });
    const made = result.layers.filter(({ written }) => written).length;
    const others = isPushed ? "there already or mounted" : "there already";
    const note = made === 0 ? `, all ${others}` : ` (${made} made, the others were ${others})`;
    printSummary(result, seconds, flags, made === result.layers.length ? "" : note);
    // Standard output is the image's, where it goes there.
    if (!names.some(isStandardOutput)) await printOutput(`${result.manifest}\n`, signal);
  } finally {
    caches.close();
  }
}

async function openPlaces(
  { base }: ImagePlan,
  names: readonly TransportName[],
  invocation: Invocation,
  caches: Caches,
): Promise<readonly ImageTarget[]> {
  if (base !== undefined) checkNotOverwritten([base], names);
  const options = targetOptions(invocation, caches);
  return await openTargets(names, {
    ...options,
    mountFrom: [...(options.mountFrom ?? []), ...mountSources(base, names)],
  });
}

/** Prints what each layer would need. */
async function foretell(
  plan: ImagePlan,
  names: readonly TransportName[],
  invocation: Invocation,
  caches: Caches,
  options: BuildOptions,
): Promise<void> {
  const targets = await openPlaces(plan, names, invocation, caches);
  const layers = await foreseeBuild(plan, targets, options);
  await printForeseen({ repoTags: plan.repoTags, layers, targets }, invocation);
}
