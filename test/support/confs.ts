import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import tar from "tar-stream";

export function hexSha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A tar of regular files and links, by tar-stream: an archive that is not of our own making. */
export async function packTar(
  members: readonly (readonly [
    name: string,
    content: Buffer | string | { readonly [type in "symlink" | "link"]?: string },
  ])[],
): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, content] of members) {
    if (typeof content === "string" || Buffer.isBuffer(content)) pack.entry({ name, mtime: new Date(0) }, content);
    else {
      const type = content.symlink === undefined ? "link" : "symlink";
      pack.entry({ name, type, linkname: content.symlink ?? content.link ?? "", mtime: new Date(0) });
    }
  }
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The members of an archive by name, with tar-stream. */
export async function unpackTar(archive: Buffer): Promise<Map<string, Buffer>> {
  const members = new Map<string, Buffer>();
  const extract = tar.extract();
  extract.end(archive);
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    members.set(entry.header.name, Buffer.concat(chunks));
  }
  return members;
}

/** The docker-archive of an image of the given layers. */
export async function packImage(
  layers: readonly { readonly name: string; readonly tar: Buffer; readonly stored?: Buffer }[],
  config: unknown = {},
): Promise<Buffer> {
  const image = {
    architecture: "amd64",
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => `sha256:${hexSha256(layer.tar)}`) },
  };
  return await packTar([
    ...layers.map((layer) => [layer.name, layer.stored ?? layer.tar] as const),
    ["config.json", JSON.stringify(image)],
    [
      "manifest.json",
      JSON.stringify([{ Config: "config.json", RepoTags: null, Layers: layers.map((layer) => layer.name) }]),
    ],
  ]);
}

export const CUSTOMISATION = "/nix/store/00000000000000000000000000000000-customisation-layer";

/** Puts the customisation layer that nixpkgs builds for contents under a store root; gives its diffID. */
export async function makeCustomisation(root: string): Promise<string> {
  const layer = await packTar([["./greeting", "hello\n"]]);
  mkdirSync(join(root, CUSTOMISATION), { recursive: true });
  writeFileSync(join(root, CUSTOMISATION, "layer.tar"), layer);
  writeFileSync(join(root, CUSTOMISATION, "checksum"), `${hexSha256(layer)}\n`);
  return `sha256:${hexSha256(layer)}`;
}

/** A dockerTools conf.json; what is given replaces the defaults. */
export function conf(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    architecture: "amd64",
    config: {},
    os: "linux",
    store_dir: "/nix/store",
    from_image: null,
    store_layers: [],
    customisation_layer: CUSTOMISATION,
    repo_tag: "app:1",
    created: "1970-01-01T00:00:01+00:00",
    mtime: "1970-01-01T00:00:01+00:00",
    uid: "0",
    gid: "0",
    uname: "root",
    gname: "root",
    ...more,
  };
}

/** A conf.json over the sample store, and what nixpkgs' stream_layered_image.py gave for it. */
export interface ConfCase {
  readonly title: string;
  readonly base?: "plain" | "gzip";
  /** What is not the default of {@link conf}. */
  readonly conf: Readonly<Record<string, unknown>>;
  readonly image: string;
  readonly diffIds: readonly string[];
}

export function readConfCases(): readonly ConfCase[] {
  const file = new URL("../../testdata/conf/cases.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as readonly ConfCase[];
}

const BASE = "/nix/store/11111111111111111111111111111111-base.tar.gz";

/** Writes a case's conf.json to a directory, and its base to the store; gives the file. */
export async function writeConfCase(
  directory: string,
  {
    base,
    conf: fields,
    storeRoot,
  }: Pick<ConfCase, "conf"> & { readonly base: ConfCase["base"]; readonly storeRoot: string },
): Promise<string> {
  if (base !== undefined) await makeBase(base, storeRoot);
  const file = join(directory, "conf.json");
  writeFileSync(file, JSON.stringify(conf({ from_image: base === undefined ? null : BASE, ...fields })));
  return file;
}

/** The base image: layers of odd names, and a config of which only Env is inherited. */
async function makeBase(kind: "plain" | "gzip", storeRoot: string): Promise<void> {
  const layers = [
    { name: "one/layer.tar", tar: await packTar([["one", "1"]]) },
    { name: 'it\'s "two" é\u2028.tar', tar: await packTar([["two", "2"]]) },
  ];
  const archive = await packImage(layers, { Env: ["A=base", "PATH=/bin", "B=1"], Cmd: ["dropped"], User: "dropped" });
  writeFileSync(join(storeRoot, BASE), kind === "gzip" ? gzipSync(archive) : archive);
}
