import { isJsonObject, parseJson } from "../core/json.js";
import type { PreviousLayer, PreviousLayout } from "../layers/previous.js";
import { findStorePath, type StorePath } from "../nix/store-path.js";
import { openSource, type SourceOptions } from "../transport/open.js";
import { parseTransport } from "../transport/transport.js";
import type { ImageSpec } from "./spec.js";

/** How the image is split that the spec names as the one before; undefined where it names none. */
export async function readSpecPrevious(
  spec: ImageSpec,
  options: SourceOptions = {},
): Promise<PreviousLayout | undefined> {
  if (spec.previous === undefined) return undefined;
  const source = await openSource(parseTransport(spec.previous), options);
  try {
    const [image] = source.images;
    if (image === undefined) return undefined;
    const config = parseJson(Buffer.from(image.config.bytes).toString(), spec.previous);
    const history = isJsonObject(config) ? config.get("history") : undefined;
    const entries = Array.isArray(history) ? history.filter(isJsonObject) : [];
    const layers = image.layers.flatMap((layer, i): PreviousLayer[] => {
      const comment = entries[i]?.get("comment");
      const storePaths = typeof comment === "string" ? [...comment.matchAll(/'([^']+)'/g)].map(([, path]) => path) : [];
      const found = storePaths.filter((path) => findStorePath(path as string)?.storePath === path) as StorePath[];
      return found.length === 0 ? [] : [{ storePaths: found, size: layer.descriptor?.size }];
    });
    return { source: spec.previous, layers };
  } finally {
    source.close();
  }
}
