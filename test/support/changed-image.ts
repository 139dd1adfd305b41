import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hexSha256, packTar } from "./confs.js";
import type { Handler } from "./http-server.js";

interface Description {
  mediaType: string;
  digest: string;
  size: number;
  [more: string]: unknown;
}

/** An image that is changed, damaged or made to lie. What names its config and manifest follows them, but for what is done to files. */
export class ChangedImage {
  readonly blobs = new Map<string, Buffer>();
  // biome-ignore lint/suspicious/noExplicitAny: tests change whatever they like in it
  readonly config: any;
  readonly manifest: { config: Description; layers: Description[]; [more: string]: unknown };
  /** What index.json says of the manifest besides. */
  readonly inIndex: Record<string, unknown> = {};
  /** What is done to the config's bytes, of which no one knows. */
  damageConfig: (bytes: Buffer) => Buffer = (bytes) => bytes;
  readonly #name: string;

  /** Of an OCI layout that holds this image alone. */
  constructor(layout: string, name: string) {
    this.#name = name;
    const read = (digest: string) => readFileSync(join(layout, "blobs", "sha256", digest.slice(7)));
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
    this.manifest = JSON.parse(String(read(manifests[0].digest)));
    this.config = JSON.parse(String(read(this.manifest.config.digest)));
    for (const { digest } of this.manifest.layers) this.blobs.set(digest, read(digest));
  }

  /** The stored bytes of a layer, from 0. */
  layer(index: number): Buffer {
    return this.blobs.get(this.manifest.layers[index]?.digest as string) as Buffer;
  }

  /** Gives a layer other bytes; the manifest says so. */
  replace(index: number, bytes: Buffer, more: object = {}): void {
    const digest = `sha256:${hexSha256(bytes)}`;
    this.blobs.set(digest, bytes);
    Object.assign(this.manifest.layers[index] as Description, { digest, size: bytes.length, ...more });
  }

  /** Gives a layer other bytes, of which the manifest does not know. */
  damage(index: number, bytes: Buffer | undefined): void {
    const digest = this.manifest.layers[index]?.digest as string;
    if (bytes === undefined) this.blobs.delete(digest);
    else this.blobs.set(digest, bytes);
  }

  #documents(): { readonly config: Buffer; readonly manifest: Buffer; readonly manifestDigest: string } {
    const config = Buffer.from(JSON.stringify(this.config));
    Object.assign(this.manifest.config, { digest: `sha256:${hexSha256(config)}`, size: config.length });
    const manifest = Buffer.from(JSON.stringify(this.manifest));
    return { config: this.damageConfig(config), manifest, manifestDigest: `sha256:${hexSha256(manifest)}` };
  }

  /** The files of an OCI layout. */
  layoutFiles(): Map<string, Buffer> {
    const { config, manifest, manifestDigest } = this.#documents();
    const entry = {
      mediaType: this.manifest.mediaType,
      digest: manifestDigest,
      size: manifest.length,
      annotations: { "org.opencontainers.image.ref.name": this.#name },
      ...this.inIndex,
    };
    return new Map([
      ["oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
      ["index.json", Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [entry] }))],
      [blobName(manifestDigest), manifest],
      [blobName(this.manifest.config.digest), config],
      ...[...this.blobs].map(([digest, bytes]) => [blobName(digest), bytes] as const),
    ]);
  }

  /** The files of a docker-archive, which calls layers by their place. */
  dockerFiles(): Map<string, Buffer> {
    const { config } = this.#documents();
    const name = `${this.manifest.config.digest.slice(7)}.json`;
    const layers = this.manifest.layers.map((_, i) => `${i}/layer.tar`);
    const entry = { Config: name, RepoTags: [`app:${this.#name}`], Layers: layers };
    const present = layers.flatMap((layer, i) => {
      const bytes = this.layer(i);
      return bytes === undefined ? [] : [[layer, bytes] as const];
    });
    return new Map([["manifest.json", Buffer.from(JSON.stringify([entry]))], [name, config], ...present]);
  }

  /** The files of an archive of both kinds, as `docker save` makes it. */
  savedFiles(): Map<string, Buffer> {
    const files = this.layoutFiles();
    const { config, layers } = this.manifest;
    const entry = {
      Config: blobName(config.digest),
      RepoTags: [`app:${this.#name}`],
      Layers: layers.map(({ digest }) => blobName(digest)),
    };
    return files.set("manifest.json", Buffer.from(JSON.stringify([entry])));
  }

  /** What answers as a registry that holds the image as `app`. */
  registry(): Handler {
    const { config, manifest } = this.#documents();
    const blobs = new Map([...this.blobs, [this.manifest.config.digest, config]]);
    return ({ url }) => {
      if (url === "/v2/") return { body: "{}" };
      if (/^\/v2\/app\/manifests\//.test(url)) {
        return { headers: { "content-type": String(this.manifest.mediaType) }, body: manifest };
      }
      const body = blobs.get(url.slice("/v2/app/blobs/".length));
      return body === undefined
        ? { status: 404, body: '{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}' }
        : { headers: { "content-length": String(body.length) }, body };
    };
  }
}

/** Writes files of an image into a new directory. */
export function writeFiles(files: ReadonlyMap<string, Buffer>, directory: string): string {
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), bytes);
  }
  return directory;
}

/** Writes files of an image into one archive. */
export async function writeArchive(files: ReadonlyMap<string, Buffer>, file: string): Promise<string> {
  writeFileSync(file, await packTar([...files]));
  return file;
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}
