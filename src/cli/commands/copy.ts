import { copyImages, isStandardOutput, OciNixError, openSource, openTargets, parseTransport } from "../../index.js";
import { type Invocation, text } from "../command.js";
import { checkNoTerminal, compressionOf, openCaches, withProgress } from "../delivery.js";
import { formatBytes, printError, printOutput, visible } from "../ui.js";

/** Copies images from one place to others and prints the digests of their manifests. */
export default async function copy({ inputs, flags, signal }: Invocation): Promise<void> {
  const [from, ...to] = inputs;
  if (from === undefined || to.length === 0) {
    throw new OciNixError("usage", "copy needs a source and at least one destination", {
      hint: "oci-nix copy docker-archive:image.tar oci:layout:1",
    });
  }
  const names = to.map(parseTransport);
  checkNoTerminal(names);
  const compression = compressionOf(flags);
  const source = await openSource(parseTransport(from), { signal, platform: text(flags, "platform") });
  const caches = openCaches(flags);
  try {
    const { result, seconds } = await withProgress({ flags }, async (observer) => {
      const targets = await openTargets(names, { signal });
      return await copyImages(source.images, targets, { signal, observer, compression, ...caches });
    });
    for (const image of result) {
      const { manifest, names: repoTags, layers, written, diffIds, config } = image;
      if (flags.json === true) {
        const copied = layers.map((layer, i) => ({ ...layer, diffId: diffIds[i], written: written.includes(i) }));
        const summary = { repoTags, manifest: manifest.digest, imageId: config.digest, layers: copied };
        printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
      } else if (flags.quiet !== true) {
        const bytes = layers.reduce((sum, { size }) => sum + size, 0);
        const how =
          written.length === layers.length ? "" : `, ${layers.length - written.length} linked or there already`;
        const title = visible(repoTags.join(", ")) || "image";
        const count = `${layers.length} ${layers.length === 1 ? "layer" : "layers"}`;
        printError(`${title}: ${count}, ${formatBytes(bytes)}${how}, ${config.digest}`);
      }
      if (!names.some(isStandardOutput)) await printOutput(`${manifest.digest}\n`, signal);
    }
  } finally {
    source.close();
    caches.close();
  }
}
