import type { BlobSource } from "../core/blob.js";
import type { BlockWriter } from "../core/block-writer.js";
import { type Digest, hexOf, sha256 } from "../core/digest.js";
import { formatJson, isJsonObject, type Json, toJson } from "../core/json.js";
import { padded } from "../tar/header.js";
import { tarProfile } from "../tar/profiles.js";

/** An image whose layers are still to be streamed. */
export interface StreamableImage {
  /** `name:tag` each; may be empty. */
  readonly repoTags: readonly string[];
  /** Whether there is to be a file `repositories`, which says of every name what its topmost layer is. */
  readonly repositories: boolean;
  /** Bottom first; each is opened only when its turn comes, so that one layer's files are listed at a time. */
  readonly layers: readonly (() => Promise<BlobSource>)[];
  /** The image config's bytes, once the digest of every blob of {@link layers} is known. */
  config(layerDigests: readonly Digest[]): string;
}

/** What a stream turned out to hold. */
export interface StreamedImage {
  /** Digest of the config: Docker's image ID. */
  readonly imageId: Digest;
  readonly layers: readonly { readonly digest: Digest; readonly size: number }[];
}

const OWNER = { uid: 0, gid: 0, uname: "", gname: "" } as const;
const MTIME = 1;

/**
 * Writes one image as a docker-archive (docker image spec 1.2) in a single pass: a layer is named by its place, because its digest is
 * known only after its bytes; the config and manifest.json, which name everything, come last. Ends with two zero blocks.
 */
export async function writeDockerArchive(image: StreamableImage, out: BlockWriter): Promise<StreamedImage> {
  const layers: { digest: Digest; size: number }[] = [];
  const names: string[] = [];
  for (const [index, open] of image.layers.entries()) {
    const layer = await open();
    const name = `layer-${String(index + 1).padStart(3, "0")}.tar`;
    await putMemberHeader(name, layer.size, out);
    layers.push({ digest: await layer.writeTo(out), size: layer.size });
    await out.putZeros(padded(layer.size) - layer.size);
    names.push(name);
  }
  const config = image.config(layers.map((layer) => layer.digest));
  const imageId = sha256(config);
  const configName = `${hexOf(imageId)}.json`;
  await putMember(configName, Buffer.from(config), out);
  const manifest = [{ Config: configName, RepoTags: image.repoTags, Layers: names }];
  await putMember("manifest.json", Buffer.from(formatJson(toJson(manifest))), out);
  if (image.repositories && layers.length > 0) {
    await putMember(
      "repositories",
      Buffer.from(formatRepositories(image.repoTags, layers.at(-1)?.digest as Digest)),
      out,
    );
  }
  await out.putZeros(1024);
  await out.flush();
  return { imageId, layers };
}

/** As Docker before 1.10 wrote it: name → tag → a layer's ID. */
function formatRepositories(repoTags: readonly string[], topmost: Digest): string {
  const repositories = new Map<string, Json>();
  for (const repoTag of repoTags) {
    const colon = repoTag.lastIndexOf(":");
    const name = repoTag.slice(0, colon);
    const tags = repositories.get(name);
    repositories.set(name, new Map([...(isJsonObject(tags) ? tags : []), [repoTag.slice(colon + 1), hexOf(topmost)]]));
  }
  return formatJson(repositories);
}

async function putMember(name: string, bytes: Uint8Array, out: BlockWriter): Promise<void> {
  await putMemberHeader(name, bytes.length, out);
  await out.put(bytes);
  await out.putZeros(padded(bytes.length) - bytes.length);
}

async function putMemberHeader(name: string, size: number, out: BlockWriter): Promise<void> {
  const profile = tarProfile("oci");
  const entry = {
    path: name,
    type: "file",
    mode: 0o644,
    owner: OWNER,
    size,
    linkTarget: "",
    source: "",
    hasPlainNames: true,
  } as const;
  const header = Buffer.alloc(profile.headerLength(entry, MTIME));
  profile.putHeaders(header, 0, entry, MTIME);
  await out.put(header);
}
