import {
  copyImages,
  foreseeCopy,
  formatTransport,
  type ImageLock,
  type ImageSource,
  isStandardOutput,
  lockOf,
  OciNixError,
  openSource,
  openTargets,
  parsePlatform,
  parseTransport,
  readLock,
  type StoredImage,
  type TransportName,
  writeLock,
} from "../../index.js";
import { type Invocation, text } from "../command.js";
import {
  checkNoTerminal,
  compressionOf,
  mountSources,
  openCaches,
  printForeseen,
  registryOptions,
  targetOptions,
  withProgress,
} from "../delivery.js";
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
  const place = parseTransport(from);
  const lockFile = text(flags, "lock");
  const lock = lockFile === undefined ? undefined : knownLock(lockFile, place);
  const reading = { signal, platform: text(flags, "platform"), lock, ...registryOptions(flags) };
  const source = await openSource(place, reading);
  const caches = openCaches(flags);
  const open = async () => {
    const options = targetOptions({ flags, signal }, caches);
    return await openTargets(names, { ...options, mountFrom: mountSources(place, names, options) });
  };
  const options = { signal, compression, cache: caches.cache, blobCache: caches.blobCache };
  try {
    if (flags["dry-run"] === true) {
      const targets = await open();
      const foreseen = await foreseeCopy(source.images, targets, options);
      for (const [i, layers] of foreseen.entries()) {
        const { names: repoTags } = source.images[i] as StoredImage;
        await printForeseen({ repoTags, layers, targets }, { flags, signal });
      }
      return;
    }
    // Before anything is copied: a lock that cannot be kept is no lock.
    if (lockFile !== undefined && lock === undefined) keepLock(lockFile, source, place, reading.platform);
    const { result, seconds } = await withProgress(
      { flags },
      async (observer) => await copyImages(source.images, await open(), { ...options, observer }),
    );
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

/** @throws OciNixError `usage` where the place is none in a registry */
function knownLock(file: string, place: TransportName): ImageLock | undefined {
  if (place.transport !== "docker") {
    throw new OciNixError("usage", `--lock is for images of registries, not for ${formatTransport(place)}`);
  }
  return readLock(file);
}

function keepLock(file: string, { images }: ImageSource, place: TransportName, platform: string | undefined): void {
  const [image] = images;
  if (image === undefined || place.transport !== "docker") return;
  const asked = platform === undefined ? undefined : parsePlatform(platform, "--platform");
  writeLock(file, lockOf(image, place, asked));
}
