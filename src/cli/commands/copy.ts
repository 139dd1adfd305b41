import {
  checkNotOverwritten,
  formatTransport,
  type ImageLock,
  type ImageSource,
  lockOf,
  OciNixError,
  openSource,
  parsePlatform,
  parseTransport,
  readLock,
  type TransportName,
  writeLock,
} from "../../index.js";
import { type Invocation, text } from "../command.js";
import { copyTo } from "../copied.js";
import { checkNoTerminal, compressionOf, mountSources, registryOptions } from "../delivery.js";

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
  checkNotOverwritten([place], names);
  const lockFile = text(flags, "lock");
  const lock = lockFile === undefined ? undefined : knownLock(lockFile, place);
  const reading = { signal, platform: text(flags, "platform"), lock, ...registryOptions(flags) };
  const source = await openSource(place, reading).catch((error: unknown) => {
    throw lock === undefined || lockFile === undefined ? error : ofLock(error, lockFile);
  });
  try {
    // Before anything is copied: a lock that cannot be kept is no lock.
    if (lockFile !== undefined && lock === undefined && flags["dry-run"] !== true) {
      keepLock(lockFile, source, place, reading.platform);
    }
    const { images } = source;
    await copyTo({ images, names, compression, mountFrom: mountSources(place, names) }, { flags, signal });
  } finally {
    source.close();
  }
}

/** @throws OciNixError `usage` where the place is none in a registry, or the lock no file */
function knownLock(file: string, place: TransportName): ImageLock | undefined {
  if (place.transport !== "docker") {
    throw new OciNixError("usage", `--lock is for images of registries, not for ${formatTransport(place)}`);
  }
  if (file === "-") {
    throw new OciNixError("usage", "--lock - is no file, and a lock is read again", { hint: "--lock image.lock" });
  }
  return readLock(file);
}

/** What is missing is missing by a digest that nobody typed. */
function ofLock(error: unknown, file: string): unknown {
  if (!(error instanceof OciNixError) || error.code !== "not-found") return error;
  return new OciNixError(error.code, `${error.message}; the digest is that of the lock file ${file}`, {
    hint: "where the registry has dropped that image, remove the lock file to lock what the name stands for now",
    cause: error.cause,
  });
}

function keepLock(file: string, { images }: ImageSource, place: TransportName, platform: string | undefined): void {
  const [image] = images;
  if (image === undefined || place.transport !== "docker") return;
  const asked = platform === undefined ? undefined : parsePlatform(platform, "--platform");
  writeLock(file, lockOf(image, place, asked));
}
