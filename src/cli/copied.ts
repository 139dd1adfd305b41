import {
  type Compression,
  copyImages,
  type DeliveredImage,
  foreseeCopy,
  isStandardOutput,
  openTargets,
  type StoredImage,
  type TransportName,
} from "../index.js";
import type { FlagValues, Invocation } from "./command.js";
import { openCaches, printForeseen, targetOptions, withProgress } from "./delivery.js";
import { formatBytes, printError, printOutput, visible } from "./ui.js";

/** Images on their way. */
interface Copying {
  readonly images: readonly StoredImage[];
  readonly names: readonly TransportName[];
  /** Undefined where layers stay as they are. */
  readonly compression: Compression | undefined;
  /** Repositories that may have layers already, besides those that the flags name. */
  readonly mountFrom?: readonly string[];
}

/** Copies images to places as the flags say, and prints the digests of their manifests. */
export async function copyTo(
  { images, names, compression, mountFrom = [] }: Copying,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
): Promise<void> {
  const caches = openCaches(flags);
  const open = async () => {
    const options = targetOptions({ flags, signal }, caches);
    return await openTargets(names, { ...options, mountFrom: [...(options.mountFrom ?? []), ...mountFrom] });
  };
  const options = { signal, compression, cache: caches.cache, blobCache: caches.blobCache };
  try {
    if (flags["dry-run"] === true) {
      const targets = await open();
      const foreseen = await foreseeCopy(images, targets, options);
      for (const [i, layers] of foreseen.entries()) {
        const { names: repoTags } = images[i] as StoredImage;
        await printForeseen({ repoTags, layers, targets }, { flags, signal });
      }
      return;
    }
    const { result, seconds } = await withProgress(
      { flags },
      async (observer) => await copyImages(images, await open(), { ...options, observer }),
    );
    for (const image of result) {
      printCopied(image, seconds, flags);
      if (!names.some(isStandardOutput)) await printOutput(`${image.manifest.digest}\n`, signal);
    }
  } finally {
    caches.close();
  }
}

function printCopied(image: DeliveredImage, seconds: number, flags: FlagValues): void {
  const { manifest, names: repoTags, layers, written, diffIds, config } = image;
  if (flags.json === true) {
    const copied = layers.map((layer, i) => ({ ...layer, diffId: diffIds[i], written: written.includes(i) }));
    const summary = { repoTags, manifest: manifest.digest, imageId: config.digest, layers: copied };
    printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  if (flags.quiet === true) return;
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const how = written.length === layers.length ? "" : `, ${layers.length - written.length} linked or there already`;
  const title = visible(repoTags.join(", ")) || "image";
  const count = `${layers.length} ${layers.length === 1 ? "layer" : "layers"}`;
  printError(`${title}: ${count}, ${formatBytes(bytes)}${how}, ${config.digest}`);
}
