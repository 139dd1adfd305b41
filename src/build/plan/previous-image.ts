import { readdirSync, type Stats, statSync } from "node:fs";
import { describeErrno, type ErrorCode, errnoOf, OciNixError, placed } from "../../core/errors.js";
import { isJsonObject, type Json } from "../../core/json.js";
import type { PreviousLayout } from "../../layers/previous.js";
import { changedStorePathsComment, storePathsComment } from "../../oci/image.js";
import { linuxPlatform } from "../../oci/platform.js";
import { type DockerEngine, openDockerEngine } from "../../transport/docker-daemon/engine.js";
import { dockerHost } from "../../transport/docker-daemon/host.js";
import { reasonOf } from "../../transport/docker-daemon/http.js";
import type { ImageSource } from "../../transport/image.js";
import { type Nix2containerLayer, parseNix2containerImage } from "../../transport/nix2container.js";
import { onlyImage, openSource, type SourceOptions } from "../../transport/open.js";
import { formatTransport, parseTransport, type TransportName } from "../../transport/transport.js";
import { recogniseInput } from "../input.js";
import { commentOf, type DocumentedLayer, documentedLayersOf, recordedLayers } from "../recorded-store-paths.js";
import type { ImageSpec } from "../spec/spec.js";

/** Which image it is that another one follows, and how it is reached. */
export interface PreviousLayoutOptions extends Pick<SourceOptions, "signal" | "tlsVerify" | "deadlineMs"> {
  /** As images name it; by default amd64. */
  readonly architecture?: string | undefined;
  /** By default any. */
  readonly variant?: string | undefined;
}

/**
 * Reads how an image is split, from its documents alone: from the annotations of oci-nix, else from the history of oci-nix and nixpkgs'
 * dockerTools, or from an image file of nix2container. Of layers nothing but their first bytes is read.
 * @param src a place as `parseTransport` takes it, an OCI layout or archive by its bare file name, an image file of nix2container, or `-`
 *   for an archive on standard input
 * @throws OciNixError `not-found` where the image is not there, or not for this platform, and for nothing else; `usage` where it is one of
 *   several, or no such place can be; `invalid-input` where it does not say what its layers hold; as `openSource`
 */
export async function readPreviousLayout(src: string, options: PreviousLayoutOptions = {}): Promise<PreviousLayout> {
  try {
    const { source, layers } = await documentedLayers(src, options);
    const recorded = recordedLayers(layers);
    if (recorded !== undefined) return { source, layers: recorded };
    throw new OciNixError("invalid-input", `${source} does not say which store paths its layers hold`, {
      hint: "images by oci-nix and nixpkgs' dockerTools do; of nix2container's give the image JSON file",
    });
  } catch (error) {
    throw placed("the previous image", error);
  }
}

/** How the image that a spec follows is read. */
export interface ReadPreviousOptions extends Pick<SourceOptions, "signal" | "tlsVerify" | "deadlineMs"> {
  onFollowed?(layout: PreviousLayout): void;
  /** There is no such image, which is no error: it may be the first release. */
  onMissing?(message: string): void;
}

/**
 * The layout of the image that a spec follows; undefined where it names none, or where that is not there.
 * @throws OciNixError as {@link readPreviousLayout}, but `not-found`
 */
export async function readSpecPrevious(
  { previous, architecture, variant }: ImageSpec,
  options: ReadPreviousOptions = {},
): Promise<PreviousLayout | undefined> {
  if (previous === undefined) return undefined;
  const { onFollowed, onMissing, ...reading } = options;
  try {
    const layout = await readPreviousLayout(previous, { ...reading, architecture, variant });
    onFollowed?.(layout);
    return layout;
  } catch (error) {
    if (!(error instanceof OciNixError) || error.code !== "not-found") throw error;
    onMissing?.(`${error.message}; planned afresh`);
    return undefined;
  }
}

interface Documented {
  readonly source: string;
  readonly layers: readonly DocumentedLayer[];
}

async function documentedLayers(src: string, options: PreviousLayoutOptions): Promise<Documented> {
  const place = placeOf(src);
  if (place === undefined) return layersOfImageFile(src);
  if (place.transport === "docker-daemon") return await layersInDaemon(place.ref, options);
  return await layersAt(place, options);
}

/** Where an image is; undefined where that is a file of another kind. */
function placeOf(src: string): TransportName | undefined {
  const archive = { transport: "docker-archive", file: src, ref: undefined } as const;
  if (src === "-") return archive;
  if (/^[a-z-]+:/.test(src)) return parseTransport(src);
  const stat = statOf(src);
  if (stat.isDirectory()) return { transport: "oci", directory: src, ref: undefined };
  if (!stat.isFile()) return archive;
  const input = recogniseInput([src], "/");
  return input.kind === "closure-file" || input.kind === "store-paths" ? archive : undefined;
}

function statOf(src: string): Stats {
  try {
    return statSync(src);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" && !src.includes(":")) throw missing(`${src} is not there`);
    throw new OciNixError("usage", `${src} names no place of images, and as a file: ${describeErrno(error)}`, {
      hint: "an image in a registry is docker://NAME:TAG",
    });
  }
}

/** What nix2container's image file says of its layers. */
function layersOfImageFile(src: string): Documented {
  const input = recogniseInput([src], "/");
  if (input.kind !== "nix2container-image") {
    throw new OciNixError("invalid-input", `${src} describes an image, and is none`, {
      hint: "name what was made of it: an archive, a layout or a registry",
    });
  }
  const { layers } = parseNix2containerImage(input.json, input.source);
  return { source: src, layers: layers.map(documentedByNix2container) };
}

function documentedByNix2container({ paths, size }: Nix2containerLayer): DocumentedLayer {
  // Layers of a base image have no paths; of a size of 0 nobody counted it.
  if (paths.length === 0) return {};
  const isChanged = paths.some(({ options }) => options && (options.rewrite.regex !== "" || options.perms.length > 0));
  const comment = isChanged ? changedStorePathsComment : storePathsComment;
  return { comment: comment(paths.map(({ path }) => path)), size: size || undefined };
}

async function layersAt(place: TransportName, options: PreviousLayoutOptions): Promise<Documented> {
  const { signal, tlsVerify, deadlineMs } = options;
  const source = "file" in place && place.file === "-" ? "standard input" : formatTransport(place);
  if ("directory" in place) checkLayout(place.directory);
  if ("file" in place && place.file !== "-") checkThere(place.file);
  let images: ImageSource | undefined;
  try {
    images = await openSource(place, { signal, tlsVerify, deadlineMs, platform: linuxPlatform(options) });
    return { source, layers: documentedLayersOf(onlyImage(images, source), source) };
  } catch (error) {
    throw isOneOf(error, ["not-found", "usage"]) ? explained(error) : error;
  } finally {
    images?.close();
  }
}

/** Whatever else is wrong with it is found when it is opened. */
function checkThere(path: string): void {
  try {
    statSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") throw missing(`${path} is not there`);
  }
}

/** A directory that is something else is a slip, not a first release; an empty one may be about to become a layout. */
function checkLayout(directory: string): void {
  checkThere(directory);
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  if (names.length === 0) throw missing(`${directory} is empty`);
  if (!names.includes("oci-layout")) {
    throw new OciNixError("invalid-input", `${directory} is no OCI layout: it has no file oci-layout`, {
      hint: "skopeo copy dir:DIRECTORY oci:LAYOUT:TAG makes one of what skopeo calls dir:",
    });
  }
}

/** A daemon tells the history, where the image itself would come with all its layers. It does not tell their sizes as they are stored. */
async function layersInDaemon(ref: string, options: PreviousLayoutOptions): Promise<Documented> {
  const source = `docker-daemon:${ref}`;
  const engine = await openEngine(options);
  const get = async (path: string): Promise<Json> => {
    const answer = await engine.get(path);
    if (answer.status === 404) throw missing(`${engine.title} has no image ${ref}`);
    if (answer.status === 200) return answer.json;
    throw new OciNixError("unavailable", `${engine.title}: ${reasonOf(answer)}`);
  };
  try {
    const image = await get(`/images/${ref}/json`);
    const found = isJsonObject(image) ? image.get("Architecture") : undefined;
    const { architecture = "amd64" } = options;
    if (found !== architecture) throw missing(`${source} is not there for ${architecture}, but for ${String(found)}`);
    const history = await get(`/images/${ref}/history`);
    // The newest comes first there.
    const entries = Array.isArray(history) ? [...history].reverse() : [];
    return { source, layers: entries.map((entry: Json) => ({ comment: commentOf(entry, "Comment") })) };
  } finally {
    engine.close();
  }
}

async function openEngine({ signal }: PreviousLayoutOptions): Promise<DockerEngine> {
  try {
    return await openDockerEngine(dockerHost(), { signal });
  } catch (error) {
    throw isOneOf(error, ["not-found"]) ? unreadable(error) : error;
  }
}

function missing(message: string): OciNixError {
  return new OciNixError("not-found", message);
}

/** What is missing of programs and files on the way to an image has a cause, an image that is missing has none. */
function explained(error: OciNixError): OciNixError {
  if (error.code === "usage") {
    const hint = "name one image in full; of several platforms that of --architecture and --variant is taken";
    return new OciNixError("usage", error.message, { hint, cause: error });
  }
  return error.cause === undefined ? error : unreadable(error);
}

function unreadable(error: OciNixError): OciNixError {
  const { message, hint } = error;
  return new OciNixError("unreadable", message, { cause: error, ...(hint === undefined ? {} : { hint }) });
}

function isOneOf(error: unknown, codes: readonly ErrorCode[]): error is OciNixError {
  return error instanceof OciNixError && codes.includes(error.code);
}
