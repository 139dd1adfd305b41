import { openArchiveTarget } from "./archive.js";
import { openContainersStorageTarget } from "./containers-storage.js";
import type { ImageTarget } from "./image.js";
import { openOciLayoutTarget } from "./oci-layout.js";
import type { TransportName } from "./transport.js";

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
  try {
    for (const name of names) targets.push(await openTarget(name, options));
    return targets;
  } catch (error) {
    await Promise.all(targets.map((target) => target.close()));
    throw error;
  }
}
