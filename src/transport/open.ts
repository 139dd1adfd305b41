import { OciNixError } from "../core/errors.js";
import { descriptorNamed, followLinks } from "../core/output-file.js";
import { parsePlatform } from "../oci/platform.js";
import { openArchiveTarget } from "./archive.js";
import { readArchive } from "./archive-reader.js";
import { openContainersStorageTarget } from "./containers-storage.js";
import { openDockerDaemonTarget, readDockerDaemon } from "./docker-daemon/docker-daemon.js";
import type { ImageSource, ImageTarget, StoredImage } from "./image.js";
import { listNames } from "./layout-index.js";
import { openOciLayoutTarget } from "./oci-layout.js";
import { readOciLayout } from "./oci-layout-reader.js";
import type { ImageLock } from "./registry/lock.js";
import type { KnownLocations } from "./registry/mounts.js";
import { openRegistrySource } from "./registry/source.js";
import { openRegistryTarget } from "./registry/target.js";
import { formatTransport, type TransportName } from "./transport.js";

/** How places are reached. */
interface PlaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of registries: whether certificates are verified and connections encrypted; by default they are. */
  readonly tlsVerify?: boolean | undefined;
  /** Of registries and daemons: how long all requests together may take. */
  readonly deadlineMs?: number | undefined;
}

/** How a place is read. */
export interface SourceOptions extends PlaceOptions {
  /** `os/architecture[/variant]`, for a name that stands for images of several platforms; `every` for all of them. */
  readonly platform?: string | undefined;
  /**
   * Whether an image that is damaged, or says of itself what is not so, is given all the same, and says it in `problem` and `problems`. By
   * default that is an error. One whose manifest or config cannot be read is an error in any case.
   */
  readonly takesDamaged?: boolean | undefined;
  /** Of registries: the one image that it may be. */
  readonly lock?: ImageLock | undefined;
}

/** How a place is written to. */
export interface TargetOptions extends PlaceOptions {
  /** Of registries: repositories that may have blobs of the image. */
  readonly mountFrom?: readonly string[] | undefined;
  /** Of registries: where blobs are known to be. */
  readonly locations?: KnownLocations | undefined;
}

/**
 * Opens a place for reading: the image it names, or all its images.
 * @throws OciNixError `not-found` for what is not there; `denied` or `unavailable` from a registry; `invalid-input`, `verification`,
 *   `unsupported` or `limit` for what is no image
 */
export async function openSource(name: TransportName, options: SourceOptions = {}): Promise<ImageSource> {
  const { platform: wanted, takesDamaged } = options;
  const platform = wanted === undefined || wanted === "every" ? wanted : parsePlatform(wanted, "--platform");
  switch (name.transport) {
    case "oci":
      return await readOciLayout(name.directory, { tag: name.ref, platform, takesDamaged });
    case "oci-archive":
    case "docker-archive":
      return await readArchive(name.file, { ref: name.ref, platform, takesDamaged, signal: options.signal });
    case "docker":
      return await openRegistrySource(name, { ...options, platform: platform === "every" ? undefined : platform });
    case "containers-storage":
      throw new OciNixError(
        "unsupported",
        `containers-storage:${name.ref}: images are not read from podman's storage`,
        {
          hint: `podman save --format oci-archive -o image.tar ${name.ref}, then oci-archive:image.tar`,
        },
      );
    case "docker-daemon":
      return await readDockerDaemon(name.ref, {
        platform,
        takesDamaged,
        signal: options.signal,
        deadlineMs: options.deadlineMs,
      });
  }
}

/** The image of a source that is to hold one. @param title what errors call the source @throws OciNixError `usage` where it holds several */
export function onlyImage({ images }: ImageSource, title: string): StoredImage {
  const [image, ...others] = images;
  if (image !== undefined && others.length === 0) return image;
  const names = images.flatMap((each) => each.names);
  const there = names.length === 0 ? "" : `: ${listNames(names)}`;
  throw new OciNixError("usage", `${title} holds ${images.length} images${there}`, {
    hint: `name one of them after a colon${there}`,
  });
}

/** Opens a place for writing. @throws OciNixError `conflict`, `invalid-input` or `output` where it cannot be written to */
export async function openTarget(name: TransportName, options: TargetOptions = {}): Promise<ImageTarget> {
  switch (name.transport) {
    case "oci":
      return openOciLayoutTarget(name.directory, name.ref, options);
    case "oci-archive":
    case "docker-archive":
      return await openArchiveTarget(name.file, { kind: name.transport, ref: name.ref, ...options });
    case "containers-storage":
      return openContainersStorageTarget(name.ref, options);
    case "docker-daemon":
      return await openDockerDaemonTarget([name.ref], options);
    case "docker":
      return openRegistryTarget(name, options);
  }
}

/**
 * Opens places for writing, side by side. Tags of one repository are one target, as are all names for the Docker daemon.
 * @throws OciNixError `usage` where two of them are one; as {@link openTarget}; those opened before are closed
 */
export async function openTargets(
  names: readonly TransportName[],
  options: TargetOptions = {},
): Promise<readonly ImageTarget[]> {
  checkDistinct(names);
  const targets: ImageTarget[] = [];
  // An image goes to the daemon once, whatever it is called there.
  const [first, ...more] = names.flatMap((name) => (name.transport === "docker-daemon" ? [name.ref] : []));
  try {
    if (first !== undefined) targets.push(await openDockerDaemonTarget([first, ...more], options));
    for (const name of names) {
      if (name.transport === "docker-daemon") continue;
      const same = names.filter((other) => areTagsOfOneRepository(name, other));
      if (same.length === 0) targets.push(await openTarget(name, options));
      else if (same[0] === name) targets.push(openTagged(same as readonly RegistryPlace[], options));
    }
    return targets;
  } catch (error) {
    await Promise.all(targets.map((target) => target.close()));
    throw error;
  }
}

/** Whether what is written there comes out of standard output. */
export function isStandardOutput(name: TransportName): boolean {
  return "file" in name && (name.file === "-" || descriptorNamed(name.file) === 1);
}

function checkDistinct(names: readonly TransportName[]): void {
  const places = new Map<string, TransportName>();
  for (const name of names) {
    const place = placeOf(name);
    const other = places.get(place);
    if (other !== undefined) {
      const what = isStandardOutput(name) ? "standard output" : formatTransport(name);
      throw new OciNixError("usage", `${what} is named twice: one image would take the other's place`, {
        hint: `give each a place of its own; ${formatTransport(other)} is the first`,
      });
    }
    places.set(place, name);
  }
}

/**
 * Before anything is written to places: that none is a file which is read at the same time, as it would be gone afterwards.
 * @param targets places, or files
 * @throws OciNixError `usage`
 */
export function checkNotOverwritten(
  sources: readonly TransportName[],
  targets: readonly (TransportName | { readonly file: string })[],
): void {
  const read = new Set(
    sources.flatMap((name) => ("file" in name && name.file !== "-" ? [followLinks(name.file)] : [])),
  );
  const target = targets.find((name) => "file" in name && name.file !== "-" && read.has(followLinks(name.file)));
  if (target === undefined || !("file" in target)) return;
  throw new OciNixError("usage", `${target.file} is read, and would be replaced by what is written`, {
    hint: "write to another file, and move it there afterwards",
  });
}

/** Equal for names of one place. */
function placeOf(name: TransportName): string {
  if (isStandardOutput(name)) return "-";
  if (name.transport === "oci") return `oci:${followLinks(name.directory)}:${name.ref ?? ""}`;
  return "file" in name ? followLinks(name.file) : formatTransport(name);
}

type RegistryPlace = Extract<TransportName, { readonly transport: "docker" }>;

/** What is pushed to one repository is uploaded once. */
function areTagsOfOneRepository(a: TransportName, b: TransportName): boolean {
  if (a.transport !== "docker" || b.transport !== "docker") return false;
  const isTag = (name: RegistryPlace) => name.tag !== undefined && name.digest === undefined;
  return isTag(a) && isTag(b) && a.host === b.host && a.repository === b.repository;
}

function openTagged(names: readonly RegistryPlace[], options: TargetOptions): ImageTarget {
  const [first, ...others] = names as readonly [RegistryPlace, ...RegistryPlace[]];
  return openRegistryTarget(first, { ...options, tags: others.flatMap(({ tag }) => tag ?? []) });
}
