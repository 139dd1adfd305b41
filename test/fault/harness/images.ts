import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Readers of images that share nothing with the product. */

interface Index {
  readonly manifests: readonly { readonly digest: string; readonly annotations?: Readonly<Record<string, string>> }[];
}

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

const REF = "org.opencontainers.image.ref.name";

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function readIndex(layout: string): Index {
  return JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as Index;
}

/** The names in a layout. */
export function refsOf(layout: string): readonly string[] {
  return readIndex(layout).manifests.flatMap(({ annotations }) => annotations?.[REF] ?? []);
}

/** The digest of the manifest that a name in a layout stands for. */
export function manifestOf(layout: string, ref: string): string {
  const found = readIndex(layout).manifests.filter(({ annotations }) => annotations?.[REF] === ref);
  if (found.length !== 1) throw new Error(`${layout} has ${found.length} images ${ref}`);
  return (found[0] as { digest: string }).digest;
}

/** The digest of the config of a layout's image. */
export function configOf(layout: string, ref: string): string {
  const manifest = readFileSync(join(layout, "blobs", manifestOf(layout, ref).replace(":", "/")));
  return (JSON.parse(manifest.toString()) as Manifest).config.digest;
}

/** Compares what `docker save` gave of an image, unpacked, with its digests. @throws Error where something is not as it should be */
export function checkSaved(directory: string, id: string): void {
  const read = (name: string) => readFileSync(join(directory, name));
  const [image] = JSON.parse(read("manifest.json").toString()) as readonly {
    readonly Config: string;
    readonly Layers: readonly string[];
  }[];
  const config = read(image?.Config ?? "");
  if (sha256(config) !== id) throw new Error(`the config of ${id} is damaged`);
  const { rootfs } = JSON.parse(config.toString()) as { readonly rootfs: { readonly diff_ids: readonly string[] } };
  const found = image?.Layers.map((layer) => sha256(read(layer))) ?? [];
  if (found.join() !== rootfs.diff_ids.join()) throw new Error(`layers of ${id} are damaged: ${found.join()}`);
}

/** Recomputes the digest of each blob of a layout. @throws Error where one has bytes that are not its own */
export function checkBlobs(layout: string): void {
  const blobs = join(layout, "blobs/sha256");
  for (const name of readdirSync(blobs)) {
    if (!/^[0-9a-f]{64}$/.test(name)) continue;
    if (sha256(readFileSync(join(blobs, name))) !== `sha256:${name}`) throw new Error(`blob ${name} is damaged`);
  }
}

/** @throws Error where a blob of the image is not there */
export function checkImage(layout: string, digest: string): void {
  const blob = (each: string) => readFileSync(join(layout, "blobs", each.replace(":", "/")));
  for (const each of blobsOf(blob(digest))) blob(each);
}

function blobsOf(manifest: Uint8Array): readonly string[] {
  const { config, layers } = JSON.parse(Buffer.from(manifest).toString()) as Manifest;
  return [config.digest, ...layers.map((layer) => layer.digest)];
}

/** A repository of a registry on loopback. */
export class Repository {
  readonly #url: string;

  constructor(host: string, name: string) {
    this.#url = `http://${host}/v2/${name}`;
  }

  async tags(): Promise<readonly string[]> {
    const { tags } = JSON.parse((await this.#get("/tags/list")).toString()) as { tags: readonly string[] | null };
    return tags ?? [];
  }

  async manifest(tag: string): Promise<{ readonly bytes: Buffer; readonly digest: string }> {
    const bytes = await this.#get(`/manifests/${tag}`);
    return { bytes, digest: sha256(bytes) };
  }

  /** Reads all blobs of an image. @throws Error where one is not there or is not what it should be */
  async check(tag: string): Promise<void> {
    for (const digest of blobsOf((await this.manifest(tag)).bytes)) {
      if (sha256(await this.#get(`/blobs/${digest}`)) !== digest) throw new Error(`blob ${digest} is damaged`);
    }
  }

  /** Makes an image of another repository one of this. */
  async mount(from: string, fromTag: string, base: Repository, tag: string): Promise<void> {
    const { bytes } = await base.manifest(fromTag);
    for (const digest of blobsOf(bytes)) {
      const response = await fetch(`${this.#url}/blobs/uploads/?mount=${digest}&from=${from}`, { method: "POST" });
      if (response.status !== 201) throw new Error(`${digest} was not mounted: ${response.status}`);
    }
    const { mediaType } = JSON.parse(bytes.toString()) as { mediaType: string };
    const headers = { "Content-Type": mediaType };
    const response = await fetch(`${this.#url}/manifests/${tag}`, {
      method: "PUT",
      headers,
      body: new Uint8Array(bytes),
    });
    if (response.status !== 201) throw new Error(`${tag} was not made: ${response.status}`);
  }

  async #get(path: string): Promise<Buffer> {
    const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    const response = await fetch(this.#url + path, { headers: { Accept: accept } });
    if (!response.ok) throw new Error(`${this.#url}${path}: ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }
}
