import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hexSha256, packTar } from "./confs.js";

export interface FixtureDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly [more: string]: unknown;
}

export const OCI = "application/vnd.oci.image";
export const DOCKER = "application/vnd.docker";

/** An OCI layout put together by hand, right or wrong. */
export class LayoutFixture {
  readonly files = new Map<string, Buffer>([["oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')]]);
  readonly manifests: unknown[] = [];

  /** Adds a blob; gives its descriptor. */
  put(content: Buffer | string | object, mediaType: string, more: object = {}): FixtureDescriptor {
    const bytes =
      typeof content === "string" || Buffer.isBuffer(content)
        ? Buffer.from(content)
        : Buffer.from(JSON.stringify(content));
    const hex = hexSha256(bytes);
    this.files.set(`blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length, ...more };
  }

  /** Adds an image; gives its manifest's descriptor. */
  image({
    layers = [],
    config = {},
    manifest = {},
    mediaType = `${OCI}.manifest.v1+json`,
  }: {
    readonly layers?: readonly { readonly tar: Buffer; readonly stored?: Buffer; readonly mediaType?: string }[];
    readonly config?: object;
    readonly manifest?: object;
    readonly mediaType?: string;
  } = {}): FixtureDescriptor {
    const diffIds = layers.map(({ tar }) => `sha256:${hexSha256(tar)}`);
    const image = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds }, ...config };
    return this.put(
      {
        schemaVersion: 2,
        mediaType,
        config: this.put(image, `${OCI}.config.v1+json`),
        layers: layers.map((layer) => this.put(layer.stored ?? layer.tar, layer.mediaType ?? `${OCI}.layer.v1.tar`)),
        ...manifest,
      },
      mediaType,
    );
  }

  /** Adds an entry to index.json. */
  add(descriptor: FixtureDescriptor, name?: string, more: object = {}): this {
    const annotations = name === undefined ? {} : { annotations: { "org.opencontainers.image.ref.name": name } };
    this.manifests.push({ ...descriptor, ...annotations, ...more });
    return this;
  }

  /** Adds an index of entries as a blob; gives its descriptor. */
  index(manifests: readonly unknown[], mediaType = `${OCI}.index.v1+json`): FixtureDescriptor {
    return this.put({ schemaVersion: 2, mediaType, manifests }, mediaType);
  }

  #finished(): ReadonlyMap<string, Buffer> {
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: this.manifests }));
    return new Map([["index.json", index], ...this.files]);
  }

  /** Writes the layout into a new directory. */
  write(directory: string): string {
    for (const [name, bytes] of this.#finished()) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), bytes);
    }
    return directory;
  }

  archive(more: readonly (readonly [string, string])[] = []): Promise<Buffer> {
    return packTar([...this.#finished(), ...more]);
  }
}
