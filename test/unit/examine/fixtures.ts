import { gzipSync } from "node:zlib";
import { sha256 } from "../../../src/core/digest.js";
import { layerMediaType, MediaType } from "../../../src/oci/manifest.js";
import { type HeaderFields, paxRecord, putHeader } from "../../../src/tar/header.js";
import type { Document, ImageSource, StoredImage, StoredLayer } from "../../../src/transport/image.js";

/** An entry as a test writes it: a directory ends in a slash, a `link` makes a symlink unless the type says otherwise. */
export interface Entry extends Partial<Omit<HeaderFields, "name">> {
  readonly content?: string;
  readonly link?: string;
  /** Records of a pax header before it. */
  readonly pax?: Readonly<Record<string, string>>;
}

/** A tar of entries by name, in order; names may repeat. */
export function tarOf(...entries: readonly (readonly [name: string, entry?: Entry | string])[]): Buffer {
  const blocks = entries.map(([name, given = {}]) => {
    const { content = "", link, pax, ...fields } = typeof given === "string" ? { content: given } : given;
    const type = name.endsWith("/") ? "5" : link === undefined ? "0" : "2";
    const linkName = link ?? "";
    const main = headerOf(name, { type, linkName, mode: 0o755, size: content.length, ...fields });
    return Buffer.concat([pax === undefined ? Buffer.alloc(0) : paxOf(pax), main, paddedOf(content)]);
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

export function headerOf(name: string, fields: Partial<HeaderFields>): Buffer {
  const header = Buffer.alloc(512);
  putHeader(header, 0, {
    name,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 1,
    type: "0",
    linkName: "",
    uname: "",
    gname: "",
    device: "0000000",
    prefix: "",
    ...fields,
  });
  return header;
}

function paxOf(pax: Readonly<Record<string, string>>): Buffer {
  const payload = Object.entries(pax)
    .map(([key, value]) => paxRecord(key, value))
    .join("");
  return Buffer.concat([headerOf("pax", { type: "x", size: payload.length }), paddedOf(payload)]);
}

function paddedOf(content: string): Buffer {
  const bytes = Buffer.from(content, "latin1");
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** A layer in memory. `stored` replaces its bytes. */
export function layerOf(
  tar: Buffer,
  more: Partial<StoredLayer> & { readonly stored?: Buffer; readonly packed?: "gzip" } = {},
): StoredLayer {
  const { stored = more.packed === "gzip" ? gzipSync(tar) : tar, packed = "none", ...rest } = more;
  const blob = {
    title: "a layer in memory",
    size: stored.length,
    async writeTo(out: Parameters<StoredLayer["blob"]["writeTo"]>[0]) {
      out.beginDigest();
      await out.put(stored);
      return out.endDigest();
    },
  };
  const descriptor = { mediaType: layerMediaType(packed), digest: sha256(stored), size: stored.length };
  return { blob, compression: packed, descriptor, diffId: sha256(tar), ...rest };
}

/** An image in memory whose documents fit its layers, but for what is given. */
export function imageOf(
  layers: readonly StoredLayer[],
  {
    config = {},
    manifest = {},
    names = ["app:1"],
  }: { config?: object; manifest?: object; names?: readonly string[] } = {},
): StoredImage {
  const configDocument = documentOf(MediaType.config, {
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    ...config,
  });
  const manifestDocument = documentOf(MediaType.manifest, {
    schemaVersion: 2,
    mediaType: MediaType.manifest,
    config: configDocument.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...manifest,
  });
  return { names, manifest: manifestDocument, config: configDocument, layers };
}

export function documentOf(mediaType: string, value: unknown): Document {
  const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  return { descriptor: { mediaType, digest: sha256(bytes), size: bytes.length }, bytes };
}

export function sourceOf(...images: readonly StoredImage[]): ImageSource {
  return { images, close: () => undefined };
}
