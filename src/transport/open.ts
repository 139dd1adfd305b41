import { OciNixError } from "../core/errors.js";
import { parsePlatform } from "../oci/platform.js";
import { openArchiveTarget } from "./archive.js";
import { readArchive } from "./archive-reader.js";
import { openContainersStorageTarget } from "./containers-storage.js";
import type { ImageSource, ImageTarget } from "./image.js";
import { openOciLayoutTarget } from "./oci-layout.js";
import { readOciLayout } from "./oci-layout-reader.js";
import type { ImageLock } from "./registry/lock.js";
import type { KnownLocations } from "./registry/mounts.js";
import { openRegistrySource } from "./registry/source.js";
import { openRegistryTarget } from "./registry/target.js";
import type { TransportName } from "./transport.js";

export interface SourceOptions {
  /** `os/architecture[/variant]`, for a name that stands for images of several platforms. */
  readonly platform?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of registries: whether certificates are verified and connections encrypted; by default they are. */
  readonly tlsVerify?: boolean | undefined;
  /** Of registries: the one image that it may be. */
  readonly lock?: ImageLock | undefined;
}

export interface TargetOptions {
  readonly signal?: AbortSignal | undefined;
  /** As in {@link SourceOptions}. */
  readonly tlsVerify?: boolean | undefined;
  /** Of registries: repositories that may have blobs of the image. */
  readonly mountFrom?: readonly string[] | undefined;
  /** Of registries: where blobs are known to be. */
  readonly locations?: KnownLocations | undefined;
}

/**
 * Opens a place for reading: the image it names, or all its images.
 * @throws OciNixError `not-found` for what is not there; `denied` or `unavailable` from a registry; `invalid-input`, `verification`, `unsupported` or `limit` for what is no image
 */
export async function openSource(name: TransportName, options: SourceOptions = {}): Promise<ImageSource> {
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform, "--platform");
  switch (name.transport) {
    case "oci":
      return await readOciLayout(name.directory, { tag: name.ref, platform });
    case "oci-archive":
    case "docker-archive":
      return await readArchive(name.file, { ref: name.ref, platform, signal: options.signal });
    case "docker":
      return await openRegistrySource(name, { ...options, platform });
    case "containers-storage":
      throw new OciNixError(
        "unsupported",
        `containers-storage:${name.ref}: images are not read from podman's storage`,
        {
          hint: `podman save --format oci-archive -o image.tar ${name.ref}, then oci-archive:image.tar`,
        },
      );
  }
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
    case "docker":
      return openRegistryTarget(name, options);
  }
}

/**
 * Opens places for writing, side by side. Tags of one repository are one target.
 * @throws OciNixError as {@link openTarget}; those opened before are closed
 */
export async function openTargets(
  names: readonly TransportName[],
  options: TargetOptions = {},
): Promise<readonly ImageTarget[]> {
  const targets: ImageTarget[] = [];
  try {
    for (const [i, name] of names.entries()) {
      const same = names.filter((other) => areTagsOfOneRepository(name, other));
      if (same.length === 0) targets.push(await openTarget(name, options));
      else if (same[0] === names[i]) targets.push(openTagged(same as readonly RegistryPlace[], options));
    }
    return targets;
  } catch (error) {
    await Promise.all(targets.map((target) => target.close()));
    throw error;
  }
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
