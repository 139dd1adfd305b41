import { OciNixError, placed } from "../../core/errors.js";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.js";
import type { StorePath } from "../../nix/store-path.js";
import { type Inheritance, inheritConfig } from "../../oci/inherit-config.js";
import { linuxPlatform } from "../../oci/platform.js";
import type { ImageSource, StoredImage } from "../../transport/image.js";
import { onlyImage, openSource, type SourceOptions } from "../../transport/open.js";
import { parseDocument } from "../../transport/stored-files.js";
import { formatTransport, parseTransport, type TransportName } from "../../transport/transport.js";
import type { PlannedLayer } from "../image-plan.js";
import { documentedLayersOf, layerHistory, recordedLayers } from "../recorded-store-paths.js";
import type { ImageSpec } from "../spec/spec.js";

/** An image that another one is made on top of. */
export interface BaseImage {
  readonly place: TransportName;
  /** Byte for byte as they are stored, bottom first. */
  readonly layers: readonly PlannedLayer[];
  /** The store paths that it has at their own place, as far as it says. */
  readonly storePaths: ReadonlySet<StorePath>;
  readonly architecture: string;
  readonly variant: string | undefined;
  /** History entries, of which as many as there are layers are not `empty_layer`. */
  readonly history: readonly Json[];
  /** The `config` of an image on top of it. @throws OciNixError `invalid-input` where an inherited field of the base has the wrong shape */
  configOf(config: JsonObject): JsonObject;
  /** Gives back files. */
  close(): void;
}

/**
 * Opens the image that a spec's `fromImage` names; undefined where there is none. Its layers are read when they are needed.
 * @throws OciNixError `usage` where it is one of several; `unsupported` where it is not for Linux; `not-found` where it is not for the
 *   spec's architecture; as `openSource`
 */
export async function openBaseImage(
  spec: ImageSpec,
  options: Pick<SourceOptions, "signal" | "tlsVerify" | "deadlineMs"> = {},
): Promise<BaseImage | undefined> {
  if (spec.fromImage === undefined) return undefined;
  let source: ImageSource | undefined;
  try {
    const place = parseTransport(spec.fromImage);
    const open = async (platform: string | undefined) => await openSource(place, { ...options, platform });
    source = spec.architecture === undefined ? await openLikely(open) : await open(linuxPlatform(spec));
    const title = formatTransport(place);
    return { place, ...baseImage(onlyImage(source, title), title, spec, source) };
  } catch (error) {
    source?.close();
    throw placed("fromImage", error);
  }
}

/** What planning has to know of the image below. */
export type PlannedBase = Pick<BaseImage, "place" | "layers" | "storePaths">;

/** What planning has to know of the image that a spec's `fromImage` names. @throws OciNixError as {@link openBaseImage} */
export async function readSpecBase(
  spec: ImageSpec,
  options: Pick<SourceOptions, "signal" | "tlsVerify" | "deadlineMs"> = {},
): Promise<PlannedBase | undefined> {
  const base = await openBaseImage(spec, options);
  base?.close();
  return base;
}

/** The one image that is there, whatever it is for, or of several that for what most are. */
async function openLikely(open: (platform: string | undefined) => Promise<ImageSource>): Promise<ImageSource> {
  try {
    const source = await open(undefined);
    if (source.images.length === 1) return source;
    source.close();
  } catch (error) {
    // So registries say that there are several.
    if (!(error instanceof OciNixError) || error.code !== "usage") throw error;
  }
  return await open(linuxPlatform({}));
}

function baseImage(image: StoredImage, title: string, spec: ImageSpec, source: ImageSource): Omit<BaseImage, "place"> {
  const config = parseDocument(image.config.bytes, `the config of ${title}`);
  const fields: JsonObject = isJsonObject(config) ? config : new Map();
  const { architecture, variant } = checkPlatform(fields, title, spec);
  const documented = documentedLayersOf(image, title);
  const recorded = recordedLayers(documented) ?? [];
  const inheritance: Inheritance = spec.inheritConfig ?? (spec.tarProfile?.name === "dockertools" ? "env" : "all");
  return {
    layers: image.layers.map((layer): PlannedLayer => ({ kind: "ready", ...layer, paths: [] })),
    storePaths: new Set(recorded.flatMap(({ storePaths }) => storePaths)),
    architecture,
    variant,
    history: historyOf(fields, image.layers.length),
    configOf: (own) => inheritConfig(fields.get("config"), own, inheritance, `the config of ${title}`),
    close: () => source.close(),
  };
}

function checkPlatform(
  config: JsonObject,
  title: string,
  spec: ImageSpec,
): { readonly architecture: string; readonly variant: string | undefined } {
  const text = (key: string) => {
    const value = config.get(key);
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const os = text("os") ?? "linux";
  if (os !== "linux") throw new OciNixError("unsupported", `${title} is for ${os}: only Linux images can be made`);
  return {
    architecture: text("architecture") ?? spec.architecture ?? "amd64",
    variant: spec.variant ?? text("variant"),
  };
}

/** The base's history; where that does not fit its layers, one entry a layer that says no more than that. */
function historyOf(config: JsonObject, layers: number): readonly Json[] {
  const history = config.get("history");
  const isWhole = Array.isArray(history) && history.every(isJsonObject) && layerHistory(config).length === layers;
  if (isWhole) return history;
  return Array.from({ length: layers }, () => new Map([["created_by", "base image"]]));
}
