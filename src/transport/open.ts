import { OciNixError } from "../core/errors.js";
import { parsePlatform } from "../oci/platform.js";
import { openArchiveTarget } from "./archive.js";
import { readArchive } from "./archive-reader.js";
import { openContainersStorageTarget } from "./containers-storage.js";
import { openDockerDaemonTarget, readDockerDaemon } from "./docker-daemon.js";
import type { ImageSource, ImageTarget } from "./image.js";
import { openOciLayoutTarget } from "./oci-layout.js";
import { readOciLayout } from "./oci-layout-reader.js";
import type { TransportName } from "./transport.js";

/**
 * Opens a place for reading: the image it names, or all its images.
 * @param options.platform `os/architecture[/variant]`, for a name that stands for images of several platforms
 * @throws OciNixError `not-found` for what is not there; `invalid-input`, `verification`, `unsupported` or `limit` for what is no image
 */
export async function openSource(
  name: TransportName,
  options: { readonly platform?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageSource> {
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform, "--platform");
  switch (name.transport) {
    case "oci":
      return await readOciLayout(name.directory, { tag: name.ref, platform });
    case "oci-archive":
    case "docker-archive":
      return await readArchive(name.file, { ref: name.ref, platform, signal: options.signal });
    case "containers-storage":
      throw new OciNixError(
        "unsupported",
        `containers-storage:${name.ref}: images are not read from podman's storage`,
        {
          hint: `podman save --format oci-archive -o image.tar ${name.ref}, then oci-archive:image.tar`,
        },
      );
    case "docker-daemon":
      return await readDockerDaemon(name.ref, { platform, signal: options.signal });
  }
}

/** Opens a place for writing. @throws OciNixError `conflict`, `invalid-input` or `output` where it cannot be written to */
export async function openTarget(
  name: TransportName,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageTarget> {
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
  }
}

/**
 * Opens places for writing, side by side.
 * @throws OciNixError as {@link openTarget}; those opened before are closed
 */
export async function openTargets(
  names: readonly TransportName[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<readonly ImageTarget[]> {
  const targets: ImageTarget[] = [];
  // An image goes to the daemon once, whatever it is called there.
  const [first, ...more] = new Set(names.flatMap((name) => (name.transport === "docker-daemon" ? [name.ref] : [])));
  try {
    if (first !== undefined) targets.push(await openDockerDaemonTarget([first, ...more], options));
    for (const name of names) if (name.transport !== "docker-daemon") targets.push(await openTarget(name, options));
    return targets;
  } catch (error) {
    await Promise.all(targets.map((target) => target.close()));
    throw error;
  }
}
