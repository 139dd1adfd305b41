import {
  chmodSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type BuildOptions,
  buildPlannedImage,
  type DigestCache,
  nullSink,
  openBlobCache,
  openDigestCache,
  openTargets,
  parseCompression,
  parseTransport,
  planImage,
  streamPlannedImage,
} from "../../../dist/index.js";
import { copySampleStore, type SampleStore } from "../../support/sample-store.js";

let directory: string;
let store: SampleStore;
let cache: DigestCache;
let layers: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-remember-"));
  store = copySampleStore(directory);
  setTimes(join(store.storeRoot, "nix", "store"));
  cache = openDigestCache(join(directory, "cache"));
  layers = (await plan()).layers.length;
});
afterEach(() => {
  cache.close();
  rmSync(directory, { recursive: true, force: true });
});

/** As Nix leaves them. */
function setTimes(path: string): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) setTimes(join(path, name));
  lutimesSync(path, 1, 1);
}

const plan = () => planImage({ closure: { graph: store.closureFile, storeRoot: store.storeRoot } });

async function build(to: readonly string[], options: BuildOptions = {}) {
  const opened: string[] = [];
  const observer = {
    progress: { bytes: 0, entries: 0 },
    onLayer: ({ title }: { readonly title: string }) => void opened.push(title),
  };
  const targets = await openTargets(to.map((name) => parseTransport(name.replace("$", directory))));
  const summary = await buildPlannedImage(await plan(), targets, { threads: 0, cache, observer, ...options });
  return { ...summary, opened };
}

const GZIP = parseCompression("gzip:1", "test");

/** Makes the cache say something else of the layer that it knows under its digest. */
function poison(): void {
  const wrong = `sha256:${"0".repeat(64)}` as const;
  const { layer } = cache;
  let first = true;
  cache = {
    ...cache,
    layer(key) {
      const known = layer.call(cache, key);
      if (known === undefined || !first) return known;
      first = false;
      return { ...known, diffId: wrong };
    },
  };
}

describe("what was made before", () => {
  it("is not made again: no layer is opened for a layout that has it", async () => {
    const first = await build(["oci:$/layout:1"]);
    expect(first.opened).toHaveLength(layers);
    const second = await build(["oci:$/layout:1"]);
    expect(second.opened).toEqual([]);
    expect(second.layers.every(({ written }) => !written)).toBe(true);
    expect(second.manifest).toBe(first.manifest);
  });

  it("is known to a build after a stream", async () => {
    await streamPlannedImage(await plan(), nullSink, { threads: 0, cache });
    await build(["oci:$/layout:1"], { cache });
    expect((await build(["oci:$/other:1"])).opened).toHaveLength(layers);
    expect((await build(["oci:$/layout:2"])).opened).toEqual([]);
  });

  it("is not packed again where the blob cache has it", async () => {
    const blobCache = openBlobCache(join(directory, "cache"), 1e9);
    const first = await build(["oci:$/layout:1"], { compression: GZIP, blobCache });
    const second = await build(["oci:$/other:1", "oci-archive:$/x.tar:1"], { compression: GZIP, blobCache });
    expect(second.opened).toEqual([]);
    expect(second.manifest).toBe(first.manifest);
    const third = await build(["oci:$/third:1"], { compression: GZIP });
    expect(third.opened).toHaveLength(layers);
    expect(third.manifest).toBe(first.manifest);
  });

  it("is not remembered of a store object that is not as Nix leaves it", async () => {
    const [changed] = readdirSync(join(store.storeRoot, "nix/store"));
    lutimesSync(join(store.storeRoot, "nix/store", changed as string), 2, 2);
    await build(["oci:$/layout:1"]);
    expect((await build(["oci:$/layout:1"])).opened).toHaveLength(1);
  });

  it("is not remembered where a file in a store object is not as Nix leaves it, whoever lists it", async () => {
    const [path = ""] = readdirSync(join(store.storeRoot, "nix/store"), { recursive: true, encoding: "utf8" }).filter(
      (name) => name.endsWith("message"),
    );
    const file = join(store.storeRoot, "nix/store", path);
    chmodSync(file, 0o644);
    lutimesSync(file, 1, 1);
    for (const threads of [0, 2]) {
      await build(["oci:$/layout:1"], { threads });
      expect((await build(["oci:$/layout:1"], { threads })).opened).toHaveLength(1);
    }
  });

  it("is not forgotten where it is the store that changed", async () => {
    await build(["oci:$/layout:1"]);
    const [path = ""] = readdirSync(join(store.storeRoot, "nix/store"), { recursive: true, encoding: "utf8" }).filter(
      (name) => name.endsWith("message"),
    );
    const file = join(store.storeRoot, "nix/store", path);
    const before = readFileSync(file);
    chmodSync(file, 0o644);
    writeFileSync(file, Buffer.alloc(before.length, "x"));
    chmodSync(file, 0o444);
    for (let i = 0; i < 2; i++) {
      await expect(build(["oci:$/other:1"])).rejects.toMatchObject({
        code: "verification",
        message: expect.stringContaining("changed: the NAR hash is not the closure's"),
      });
    }
  });

  it("is another layer under another owner, time or tar profile", async () => {
    await build(["oci:$/layout:1"]);
    const closure = { graph: store.closureFile, storeRoot: store.storeRoot };
    const { tarProfile } = await import("../../../dist/tar/profiles.js");
    const mtime = { text: "1970-01-01T00:00:02Z", seconds: 2 };
    for (const other of [{ uid: 1 }, { gname: "users" }, { tarProfile: tarProfile("dockertools") }, { mtime }]) {
      const targets = await openTargets([parseTransport(`oci:${directory}/layout:1`)]);
      const planned = await planImage({ closure, ...(other as object) });
      const { layers: built } = await buildPlannedImage(planned, targets, { threads: 0, cache });
      expect(built.every(({ written }) => written)).toBe(true);
    }
  });

  it("never makes a wrong image: a layer that turns out otherwise fails, is named, and is forgotten", async () => {
    const { manifest } = await build(["oci:$/layout:1"]);
    const right = cache;
    poison();
    await expect(build(["oci:$/other:1"])).rejects.toMatchObject({
      code: "verification",
      message: expect.stringMatching(
        /layer \d+ is sha256:.* but sha256:0{64} .* is in the digest cache, which has dropped/,
      ),
    });
    // Nothing is left of a layout that was not there before.
    expect(existsSync(join(directory, "other"))).toBe(false);
    cache = right;
    const again = await build(["oci:$/layout:1"]);
    expect(again.opened).toHaveLength(1);
    expect(again.manifest).toBe(manifest);
  });

  it("never packs wrongly: other bytes than remembered fail, and are forgotten", async () => {
    const first = await build(["oci:$/layout:1"], { compression: GZIP });
    const { diffId } = first.layers[0] as { diffId: `sha256:${string}` };
    const codec = (await import("../../../dist/index.js")).codecOf(GZIP) as string;
    const known = cache.blob(diffId, codec);
    cache.rememberBlob(diffId, codec, { digest: `sha256:${"1".repeat(64)}`, size: 1 });
    await expect(build(["oci:$/layout:1"], { compression: GZIP })).rejects.toMatchObject({ code: "verification" });
    const again = await build(["oci:$/layout:1"], { compression: GZIP });
    expect(again.manifest).toBe(first.manifest);
    expect(cache.blob(diffId, codec)).toEqual(known);
  });

  it.each(["oci:$/other:1", "oci-archive:$/x.tar:1"])(
    "is made again where the blob cache is damaged: %s",
    async (to) => {
      const blobCache = openBlobCache(join(directory, "cache"), 1e9);
      const options = { compression: GZIP, blobCache };
      const { layers: built, manifest } = await build(["oci:$/layout:1"], options);
      const file = blobCache.find(built[0] as { digest: `sha256:${string}`; size: number }) as string;
      const bytes = readFileSync(file);
      bytes[20] = (bytes[20] as number) ^ 1;
      rmSync(file);
      writeFileSync(file, bytes);
      const again = await build([to], options);
      expect(again.opened).toHaveLength(1);
      expect(again.manifest).toBe(manifest);
      expect((await build([to.replace("other", "third")], options)).opened).toEqual([]);
    },
  );

  it("never makes a wrong image of an entry that names another layer of it", async () => {
    const { manifest } = await build(["oci:$/layout:1"]);
    const right = cache;
    const known: { diffId: `sha256:${string}`; size: number }[] = [];
    cache = {
      ...right,
      layer(key) {
        const layer = right.layer(key);
        if (layer !== undefined) known.push(layer);
        return known[0];
      },
    };
    for (const to of ["oci:$/fresh:1", "oci-archive:$/fresh.tar", "docker-archive:$/fresh2.tar"]) {
      await expect(build([to])).rejects.toMatchObject({ code: "verification" });
    }
    cache = right;
    expect((await build(["oci:$/fresh:1"])).manifest).toBe(manifest);
  });
});
