import type { Descriptor } from "./manifest.js";
import { fullName, splitImageName } from "./reference.js";

/** The file `oci-layout`. image-spec, "Image Layout". */
export const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}';
/** Names an image in an index. */
export const REF_NAME = "org.opencontainers.image.ref.name";
/** What containerd names an image that it imports; it takes no other name where this one is. */
export const CONTAINERD_NAME = "io.containerd.image.name";

/** A manifest in a layout's index. */
export type IndexEntry = Descriptor;

/**
 * The entries of an image in a layout's index, one a name.
 * @param names `name:tag`, or what else an index may call it; none for an image without a name
 * @param refName `whole`: as skopeo writes and finds it; `tag`: as BuildKit and Docker do in archives for `docker load`
 */
export function layoutEntries(
  manifest: Descriptor,
  names: readonly string[],
  refName: "whole" | "tag" = "whole",
): readonly IndexEntry[] {
  if (names.length === 0) return [manifest];
  return names.map((name) => {
    const image = splitImageName(name);
    if (image === undefined) return { ...manifest, annotations: { [REF_NAME]: name } };
    return {
      ...manifest,
      annotations: {
        [CONTAINERD_NAME]: fullName(name),
        [REF_NAME]: refName === "tag" ? image.tag : name,
      },
    };
  });
}
