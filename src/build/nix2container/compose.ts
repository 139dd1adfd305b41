import { readJsonFile } from "../../core/json-file.js";
import { checkGoContainerConfig } from "../../oci/container-config.js";
import {
  type Nix2containerImage,
  type Nix2containerLayer,
  parseNix2containerImage,
  parseNix2containerLayers,
} from "../../transport/nix2container.js";

/**
 * The image of a config and layers: those of a base image first, then those of the layers files that are not there yet.
 * @param request.config file: the image's `config` object; `layers`: layers files; `fromImage`: an image file
 * @param request.created as Go prints times
 * @throws OciNixError for files that cannot be read or are wrong
 */
export async function composeNix2containerImage(request: {
  readonly config: string;
  readonly layers: readonly string[];
  readonly fromImage?: string | undefined;
  readonly architecture: string;
  readonly created: string;
}): Promise<Nix2containerImage> {
  const { architecture, created, fromImage } = request;
  const config = checkGoContainerConfig((await readJsonFile(request.config)) ?? new Map(), request.config);
  const layers: Nix2containerLayer[] = [];
  if (fromImage !== undefined) layers.push(...parseNix2containerImage(await readJsonFile(fromImage), fromImage).layers);
  const present = new Set(layers.map(({ digest }) => digest));
  for (const file of request.layers) {
    for (const layer of parseNix2containerLayers(await readJsonFile(file), file)) {
      if (present.has(layer.digest)) continue;
      present.add(layer.digest);
      layers.push(layer);
    }
  }
  return { config, layers, architecture, created };
}
