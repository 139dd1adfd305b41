import { checkNotOverwritten, mergeImages, type NamedSource, OciNixError, parseTransport } from "../../index.js";
import { type Invocation, list } from "../command.js";
import { copyTo } from "../copied.js";
import { checkNoTerminal, compressionOf } from "../delivery.js";
import { placeNamed, placesOf, withSource } from "../sources.js";

/** Brings the images of several places to one, or to several. */
export default async function merge({ inputs, flags, signal }: Invocation): Promise<void> {
  if (inputs.length < 2) {
    throw new OciNixError("usage", "merge needs at least two sources", {
      hint: "oci-nix merge docker-archive:a.tar docker-archive:b.tar --to docker-archive:both.tar",
    });
  }
  const to = list(flags, "to");
  if (to === undefined) {
    throw new OciNixError("usage", "--to is missing", {
      hint: "--to docker-archive:FILE, oci-archive:FILE or oci:DIR",
    });
  }
  const names = to.map(parseTransport);
  checkNoTerminal(names);
  const compression = compressionOf(flags);
  const places = placesOf(inputs, inputs.length);
  checkNotOverwritten(places.map(placeNamed), names);
  const withSources = async (sources: readonly NamedSource[]): Promise<void> => {
    const place = places[sources.length];
    if (place === undefined) {
      await copyTo({ images: mergeImages(sources), names, compression }, { flags, signal });
      return;
    }
    await withSource(place, { flags, signal }, undefined, async ({ images }) => {
      await withSources([...sources, { title: place === "-" ? "standard input" : place, images }]);
    });
  };
  await withSources([]);
}
