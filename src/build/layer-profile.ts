import { layerProfile, type TarProfile } from "../tar/profiles.js";

/** The options for one layer: the image's, but with the tar profile that the layer's plan names, where it names one. */
export function optionsFor<Options extends { readonly profile: TarProfile }>(
  { tarProfile }: { readonly tarProfile?: string | undefined },
  options: Options,
): Options {
  return tarProfile === undefined ? options : { ...options, profile: layerProfile(tarProfile) };
}
