import { chmodSync, lstatSync, lutimesSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  buildPlannedImage,
  type Digest,
  digestLayers,
  type ImageSpec,
  noCache,
  onlyImage,
  openSource,
  openTarget,
  parseCompression,
  parseTransport,
  planImage,
  rebuildImage,
  verifyImage,
} from "../../../dist/index.js";
import { packImage, packTar } from "../../support/confs.js";
import { copySampleStore, type SampleStore } from "../../support/sample-store.js";

const MESSAGE = "k1y29i1qr6ipr6cjcbvhj505lfr3c0r4-greeting-message-1.0";

let directory: string;
let store: SampleStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-rebuild-"));
  store = copySampleStore(directory);
  setTimes(join(store.storeRoot, "nix", "store"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** As Nix leaves them. */
function setTimes(path: string): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) setTimes(join(path, name));
  lutimesSync(path, 1, 1);
}

const plan = (more: Partial<ImageSpec> = {}) =>
  planImage({ closure: { graph: store.closureFile, storeRoot: store.storeRoot }, ...more });

async function build(compression: string, more: Partial<ImageSpec> = {}) {
  const place = parseTransport(`oci:${join(directory, "layout")}:1`);
  const options = { compression: parseCompression(compression, "") };
  const summary = await buildPlannedImage(await plan(more), [await openTarget(place)], options);
  const source = await openSource(place);
  return { summary, image: onlyImage(source, "built"), ...options };
}

/** A base image of one layer, packed or not, in an archive that does not tell its digest. */
async function baseImage(): Promise<string> {
  const file = join(directory, "base.tar");
  writeFileSync(file, await packImage([{ name: "0.tar", tar: await packTar([["etc/base", "base\n"]]) }]));
  return `docker-archive:${file}`;
}

describe("an image that is made once more", () => {
  it.each(["none", "gzip:1", "zstd"])("has the descriptors that a build stores: %s", async (name) => {
    for (const more of [{}, { nixDatabase: { enable: true } }, { fromImage: await baseImage() }]) {
      const { summary, compression, image } = await build(name, more);
      const rebuilt = await rebuildImage(await plan(more), { compression });
      expect(rebuilt.stored?.manifest.digest).toBe(summary.manifest);
      expect(rebuilt.stored?.layers.map(({ digest }) => digest)).toEqual(summary.layers.map(({ digest }) => digest));
      expect(await verifyImage(image, rebuilt)).toMatchObject({ verified: true, exact: true, causes: [] });
      rebuilt.close();
    }
  });

  it("has layers that can be read again, in any order, and are what a build stores", async () => {
    const more = { fromImage: await baseImage(), copyToRoot: [`/nix/store/${MESSAGE}`] };
    const { summary } = await build("none", more);
    const rebuilt = await rebuildImage(await plan(more));
    expect(rebuilt.stored).toBeUndefined();
    expect(rebuilt.image.config.descriptor.digest).toBe(summary.imageId);
    expect(rebuilt.image.layers.map(({ diffId }) => diffId)).toEqual(summary.layers.map(({ diffId }) => diffId));
    const { BlockWriter } = await import("../../../dist/core/block-writer.js");
    for (const layer of [...rebuilt.image.layers, ...[...rebuilt.image.layers].reverse()]) {
      const out = new BlockWriter({ write: () => undefined });
      expect(await layer.blob.writeTo(out)).toBe(layer.diffId);
      expect(out.written).toBe(layer.blob.size);
    }
    rebuilt.close();
  });

  it("believes no cache unless it is told to", async () => {
    const wrong = `sha256:${"0".repeat(64)}` as Digest;
    const lying = { ...noCache, layer: () => ({ diffId: wrong, size: 1 }) };
    const { image } = await build("none");
    const believing = await rebuildImage(await plan(), { cache: lying });
    expect(believing.image.layers.every(({ diffId }) => diffId === wrong)).toBe(true);
    const own = await rebuildImage(await plan());
    expect((await verifyImage(image, own)).verified).toBe(true);
  });

  it("tells which store paths are not what was recorded for them any more", async () => {
    const { image } = await build("none");
    const file = join(store.storeRoot, "nix/store", MESSAGE, "share/greeting/message");
    chmodSync(file, 0o644);
    writeFileSync(file, "changed\n");
    chmodSync(file, 0o444);
    lutimesSync(file, 1, 1);
    const rebuilt = await rebuildImage(await plan());
    const found = await verifyImage(image, rebuilt);
    expect(found.verified).toBe(false);
    expect(found.causes).toMatchObject([
      { kind: "store-changed", message: expect.stringContaining(`/nix/store/${MESSAGE} changed: its NAR hash`) },
    ]);
    expect(found.files?.changed.map(({ path }) => path)).toEqual([`/nix/store/${MESSAGE}/share/greeting/message`]);
    expect(await rebuilt.damagedStorePaths(99)).toBeUndefined();
  });

  it("hashes only the layers that are asked for", async () => {
    const all = await digestLayers(await plan());
    for (const threads of [0, 1]) {
      expect(await digestLayers(await plan(), { needed: [1, 3], threads })).toEqual(
        Object.assign([], { 1: all[1], 3: all[3] }),
      );
    }
  });
});
