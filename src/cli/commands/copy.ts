import { copyImages, isStandardOutput, OciNixError, openSource, openTargets, parseTransport } from "../../index.js";
import { type Invocation, text } from "../command.js";
import { compressionOf, openCaches, withProgress } from "../delivery.js";
import { formatBytes, printError, printOutput } from "../ui.js";

/** Copies images from one place to others and prints the digests of their manifests. */
export default async function copy({ inputs, flags, signal }: Invocation): Promise<void> {
  const [from, ...to] = inputs;
  if (from === undefined || to.length === 0) {
    throw new OciNixError("usage", "copy needs a source and at least one destination", {
      hint: "oci-nix copy docker-archive:image.tar oci:layout:1",
    });
  }
  const names = to.map(parseTransport);
  const compression = compressionOf(flags);
  const source = await openSource(parseTransport(from), { signal, platform: text(flags, "platform") });
  const caches = openCaches(flags);
  try {
    const { result, seconds } = await withProgress({ flags }, async (observer) => {
      const targets = await openTargets(names, { signal });
      return await copyImages(source.images, targets, { signal, observer, compression, ...caches });
    });
    for (const image of result) {
      const { manifest, names: repoTags, layers, written } = image;
      const bytes = layers.reduce((sum, { size }) => sum + size, 0);
      if (flags.json === true) printError(JSON.stringify({ ...image, seconds: Number(seconds.toFixed(3)) }));
      else if (flags.quiet !== true) {
        const title = repoTags.join(", ") || "image";
        printError(`${title}: ${layers.length} layers, ${formatBytes(bytes)}, ${written.length} layers written`);
      }
      if (!names.some(isStandardOutput)) await printOutput(`${manifest.digest}\n`, signal);
    }
  } finally {
    source.close();
    caches.close();
  }
}
