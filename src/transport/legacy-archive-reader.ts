import { sha256 } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { formatJson, isJsonObject, type Json, type JsonObject, toJson } from "../core/json.js";
import { MediaType } from "../oci/manifest.js";
import { isPlatform, parsePlatformObject } from "../oci/platform.js";
import { selectImages } from "./docker-archive-reader.js";
import type { StoredImage } from "./image.js";
import { checkFound } from "./layout-index.js";
import type { ImageChoice } from "./oci-layout-reader.js";
import type { DocumentReader } from "./stored-files.js";
import { measureLayer, type UnpackedLayer, undescribedLayer } from "./stored-layer.js";

/**
 * The images of an archive of Docker before 1.10, which has `repositories` and, for every layer, a directory with `json` (one v1 image)
 * and `layer.tar`, chained by `parent`. There is no image config; one is made of the v1 images as Docker makes it when it loads such an
 * archive: config, author, time, architecture and os of the topmost, a history entry and a layer for each. The diffIDs come from
 * reading all layers.
 * @throws OciNixError as `readArchive`
 */
export async function imagesOfLegacyArchive(
  documents: DocumentReader,
  choice: ImageChoice,
  signal?: AbortSignal,
): Promise<readonly StoredImage[]> {
  const { files } = documents;
  const all = namedImages(documents);
  const named = choice.ref === undefined ? all : selectImages(all, choice.ref, files.title);
  const measured = new Map<string, UnpackedLayer>();
  const read: StoredImage[] = [];
  const platforms = [];
  for (const { id, names, where } of named) {
    const chain = chainOf(documents, id, where);
    const top = (chain.at(-1) as V1Image).json;
    const platform = parsePlatformObject(new Map([...DEFAULTS, ...definedOf(top)]), where);
    platforms.push(platform);
    if (!isPlatform(platform, choice.platform)) continue;
    const layers = [];
    for (const image of chain) {
      const name = `${image.id}/layer.tar`;
      const place = files.placeOf(name);
      const known = measured.get(place) ?? (await measureLayer(files, name, signal));
      measured.set(place, known);
      layers.push(undescribedLayer(files, name, known.diffId));
    }
    const bytes = Buffer.from(
      formatConfig(
        chain.map(({ json }) => json),
        layers.map(({ diffId }) => diffId),
      ),
    );
    const descriptor = { mediaType: MediaType.config, digest: sha256(bytes), size: bytes.length };
    read.push({ names, manifest: undefined, config: { descriptor, bytes }, layers });
  }
  checkFound(read.length, { title: files.title, choice, platforms });
  return read;
}

interface NamedImage {
  readonly id: string;
  readonly names: readonly string[];
  readonly where: string;
}

/** What `repositories` says: names, then tags, then IDs of the topmost v1 images. */
function namedImages(documents: DocumentReader): readonly NamedImage[] {
  const where = `${documents.files.title}: repositories`;
  const json = documents.json("repositories");
  const images = new Map<string, { readonly names: string[]; readonly where: string }>();
  for (const [name, tags] of objectOf(json, where)) {
    for (const [tag, id] of objectOf(tags, `${where}: ${name}`)) {
      const image = images.get(checkId(id, `${where}: ${name}: ${tag}`)) ?? { names: [], where: `${where}: ${name}` };
      image.names.push(`${name}:${tag}`);
      images.set(id as string, image);
    }
  }
  if (images.size === 0) throw new OciNixError("invalid-input", `${where} names no image`);
  return [...images].map(([id, { names, where }]) => ({ id, names, where }));
}

interface V1Image {
  readonly id: string;
  readonly json: JsonObject;
}

/** The v1 images that an image is made of, bottom first. */
function chainOf(documents: DocumentReader, top: string, where: string): readonly V1Image[] {
  const chain: V1Image[] = [];
  const seen = new Set<string>();
  for (let id: string | undefined = top; id !== undefined; ) {
    if (seen.has(id)) throw new OciNixError("invalid-input", `${where}: ${id} is its own ancestor`);
    seen.add(id);
    const name: string = `${id}/json`;
    const place: string = `${documents.files.title}: ${name}`;
    const json: JsonObject = objectOf(documents.json(name), place);
    chain.push({ id, json });
    const parent: Json | undefined = json.get("parent") || undefined;
    id = parent === undefined ? undefined : checkId(parent, `${place}: parent`);
  }
  return chain.reverse();
}

function checkId(id: Json, where: string): string {
  if (typeof id === "string" && /^[0-9a-f]{64}$/.test(id)) return id;
  throw new OciNixError("invalid-input", `${where} is not the ID of a v1 image (64 lower-case hex digits)`);
}

function objectOf(json: Json, where: string): JsonObject {
  if (isJsonObject(json)) return json;
  throw new OciNixError("invalid-input", `${where} is not an object`);
}

/** What v1 images meant where they did not say it. */
const DEFAULTS: readonly (readonly [string, Json])[] = [
  ["architecture", "amd64"],
  ["os", "linux"],
];

function definedOf(json: JsonObject): readonly (readonly [string, Json])[] {
  return [...json].filter(([, value]) => value !== null && value !== "");
}

function formatConfig(chain: readonly JsonObject[], diffIds: readonly string[]): string {
  const top = new Map([...DEFAULTS, ...definedOf(chain.at(-1) as JsonObject)]);
  return formatJson(
    toJson({
      created: top.get("created"),
      author: top.get("author"),
      architecture: top.get("architecture"),
      variant: top.get("variant"),
      os: top.get("os"),
      config: top.get("config"),
      rootfs: { type: "layers", diff_ids: diffIds },
      history: chain.map(historyOf),
    }),
  );
}

function historyOf(image: JsonObject): Json {
  const v1 = new Map(definedOf(image));
  const container = v1.get("container_config");
  const command = isJsonObject(container) ? container.get("Cmd") : undefined;
  const words = Array.isArray(command) ? command.filter((word): word is string => typeof word === "string") : [];
  return toJson({
    created: v1.get("created"),
    created_by: words.length === 0 ? undefined : words.join(" "),
    author: v1.get("author"),
    comment: v1.get("comment"),
  });
}
