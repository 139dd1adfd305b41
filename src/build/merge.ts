import { OciNixError } from "../core/errors.js";
import { fullName } from "../oci/reference.js";
import type { StoredImage } from "../transport/image.js";

/** Images of one place. */
export interface NamedSource {
  /** What messages call the place. */
  readonly title: string;
  readonly images: readonly StoredImage[];
}

/**
 * The images of several places, in their order, to be brought to one. Images of one config are one image, whose layers are those of the
 * first place that has it, and which has all their names.
 * @throws OciNixError `conflict` where two images have the same name
 */
export function mergeImages(sources: readonly NamedSource[]): readonly StoredImage[] {
  const places = new Map<string, { readonly title: string; readonly config: string }>();
  const merged = new Map<string, StoredImage>();
  for (const { title, images } of sources) {
    for (const image of images) {
      const config = image.config.descriptor.digest;
      for (const name of image.names) {
        const other = places.get(fullName(name));
        if (other !== undefined) throw twice(name, other, { title, config });
        places.set(fullName(name), { title, config });
      }
      const known = merged.get(config);
      merged.set(config, known === undefined ? image : { ...known, names: [...known.names, ...image.names] });
    }
  }
  return [...merged.values()];
}

type Place = { readonly title: string; readonly config: string };

function twice(name: string, first: Place, second: Place): OciNixError {
  const where = first.title === second.title ? `twice in ${first.title}` : `in ${first.title} and in ${second.title}`;
  const what = first.config === second.config ? "" : `, and they are different images`;
  return new OciNixError("conflict", `the name ${name} is ${where}${what}`, {
    hint: "leave one of them out, or copy it under another name first",
  });
}
