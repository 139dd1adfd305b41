import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { codecOf, parseCompression } from "../../../src/core/compression.js";
import { sha256 } from "../../../src/core/digest.js";
import { OciNixError } from "../../../src/core/errors.js";
import type { ExpectedImage, ImageVerification } from "../../../src/examine/verification.js";
import { packingOf, type VerifyOptions, verifyImage } from "../../../src/examine/verify.js";
import { COMPRESSION_ANNOTATION, layerMediaType } from "../../../src/oci/manifest.js";
import type { StoredImage, StoredLayer } from "../../../src/transport/image.js";
import { imageOf, layerOf, tarOf } from "./fixtures.js";

const A = tarOf(["nix/"], ["nix/a", "aaaa"]);
const B = tarOf(["nix/"], ["nix/b", "bbbb"]);
const STORE = "/nix/store/00000000000000000000000000000000-";

/** A config whose history lists store paths. */
const historyOf = (...layers: readonly (readonly string[])[]) => ({
  history: layers.map((names) => ({
    comment: `store paths: [${names.map((name) => `'${STORE}${name}'`).join(", ")}]`,
  })),
});

const verify = (image: StoredImage, expected: StoredImage, more: Partial<ExpectedImage> & VerifyOptions = {}) =>
  verifyImage(image, { image: expected, ...more }, more);
const statusesOf = ({ layers }: ImageVerification) => layers.map(({ status }) => status);
const kindsOf = ({ causes }: ImageVerification) => causes.map(({ kind }) => kind);

/** A layer whose bytes are not those of its descriptor. */
function tampered(tar: Buffer, bytes: Buffer): StoredLayer {
  const sound = layerOf(tar);
  const blob: StoredLayer["blob"] = {
    ...sound.blob,
    async writeTo(out) {
      await layerOf(bytes).blob.writeTo(out);
      throw new OciNixError("verification", "the blob is not what it was");
    },
  };
  return { ...sound, blob };
}

describe("verifying an image", () => {
  it("finds nothing where layers and config are as expected, however they are packed", async () => {
    const found = await verify(
      imageOf([layerOf(A, { packed: "gzip" }), layerOf(B)]),
      imageOf([layerOf(A), layerOf(B)]),
    );
    expect(found).toMatchObject({ verified: true, layersRead: true, exact: false, causes: [], missing: [] });
    expect(statusesOf(found)).toEqual(["same", "same"]);
    expect(found.layers.map(({ samePacking }) => samePacking)).toEqual([null, true]);
  });

  it("reads the layers, and says which is not what the image says of it, and what is in it instead", async () => {
    const other = tarOf(["nix/"], ["nix/b", "bbXb"]);
    const found = await verify(imageOf([layerOf(A), tampered(B, other)]), imageOf([layerOf(A), layerOf(B)]));
    expect(found.verified).toBe(false);
    expect(found.layers[1]).toMatchObject({
      status: "damaged",
      problem: "the blob is not what it was",
      diffId: sha256(other),
      expected: { layer: 2, diffId: sha256(B) },
      firstDifference: { where: "contents", after: "nix/b", offset: 512 + 512 + 2 },
    });
    expect(found.files?.changed.map(({ path }) => path)).toEqual(["/nix/b"]);
  });

  it("does not believe a config that says of a layer's blob what it is not", async () => {
    const liar = { ...layerOf(tarOf(["evil", "1"]), { packed: "gzip" }), diffId: sha256(A) };
    const found = await verify(imageOf([liar]), imageOf([layerOf(A)]));
    expect(found.verified).toBe(false);
    expect(found.layers[0]?.problem).toContain(`but the image config says ${sha256(A)}`);
    expect(found.files?.added.map(({ path }) => path)).toEqual(["/evil"]);
    const believing = await verify(imageOf([liar]), imageOf([layerOf(A)]), { readsLayers: false });
    expect(believing).toMatchObject({ verified: true, layersRead: false });
  });

  it("speaks of a layer that cannot be unpacked, and compares no files then", async () => {
    const cut = layerOf(A, { stored: gzipSync(A).subarray(0, 40), packed: "gzip" });
    const found = await verify(imageOf([cut, layerOf(B)]), imageOf([layerOf(A), layerOf(A)]));
    expect(statusesOf(found)).toEqual(["damaged", "different"]);
    expect(found.files).toBeNull();
    expect(found.layers[0]?.problem).toContain("damaged or cut off gzip data");
  });

  it("finds a layer damaged that zeros follow, as nobody who uses Go can unpack it", async () => {
    const padded = layerOf(A, { stored: Buffer.concat([gzipSync(A), Buffer.alloc(512)]), packed: "gzip" });
    const found = await verify(imageOf([padded]), imageOf([layerOf(A)]));
    expect(statusesOf(found)).toEqual(["damaged"]);
    expect(found.layers[0]?.problem).toContain("zeros follow the last member");
  });

  it("compares no files where one layer cannot be unpacked and all say that they are the input's", async () => {
    const cut = layerOf(A, { stored: gzipSync(A).subarray(0, 40), packed: "gzip" });
    const found = await verify(imageOf([cut, layerOf(B)]), imageOf([layerOf(A), layerOf(B)]));
    expect(found.verified).toBe(false);
    expect(found.files).toBeNull();
  });

  it("fails where the image cannot be reached, which says nothing of it", async () => {
    const layer = layerOf(A);
    const failing = (code: "unavailable" | "denied" | "not-found") => ({
      ...layer,
      blob: { ...layer.blob, writeTo: () => Promise.reject(new OciNixError(code, "gone")) },
    });
    for (const code of ["unavailable", "denied"] as const) {
      await expect(verify(imageOf([failing(code)]), imageOf([layer]))).rejects.toThrow("gone");
    }
    expect(statusesOf(await verify(imageOf([failing("not-found")]), imageOf([layer])))).toEqual(["unreadable"]);
  });

  it("has the problems of an image's documents as a difference, whatever else is the same", async () => {
    const problems = [new OciNixError("verification", "the config is another one")];
    const found = await verify({ ...imageOf([layerOf(A)]), problems }, imageOf([layerOf(A)]));
    expect(found).toMatchObject({ verified: false, problems: ["the config is another one"] });
    expect(statusesOf(found)).toEqual(["same"]);
  });

  it("believes no layer that has a problem, and none that is not as expected", async () => {
    let reads = 0;
    const counted = (layer: StoredLayer): StoredLayer => {
      const { writeTo } = layer.blob;
      const blob = {
        ...layer.blob,
        async writeTo(out: Parameters<typeof writeTo>[0]) {
          reads++;
          return await writeTo(out);
        },
      };
      return { ...layer, blob };
    };
    const unread = await verify(imageOf([counted(layerOf(A))]), imageOf([layerOf(A)]), { readsLayers: false });
    expect([unread.verified, reads]).toEqual([true, 0]);
    const problem = new OciNixError("verification", "it is too long");
    const bad = imageOf([counted({ ...layerOf(A), problem })]);
    const told = await verify(bad, imageOf([layerOf(A)]), { readsLayers: false });
    expect([statusesOf(told), told.layers[0]?.problem, reads]).toEqual([["damaged"], "it is too long", 1]);
    const cut = layerOf(B, { stored: gzipSync(B).subarray(0, 40), packed: "gzip" });
    const other = await verify(imageOf([counted(cut)]), imageOf([layerOf(A)]), { readsLayers: false });
    expect([statusesOf(other), other.files]).toEqual([["damaged"], null]);
  });

  it("compares no files where an image holds what no file system can", async () => {
    const deep = tarOf(["x", { pax: { path: `${"x/".repeat(3000)}y` } }]);
    const found = await verify(imageOf([layerOf(deep)]), imageOf([layerOf(A)]));
    expect(statusesOf(found)).toEqual(["different"]);
    expect([found.files, found.filesProblem]).toEqual([
      null,
      "layer 1 of the image has a name of 6001 bytes, more than Linux takes",
    ]);
  });

  it("pairs layers that hold the same store paths, and says which are too many or too few", async () => {
    const [c, d] = [tarOf(["nix/"], ["nix/c", "1"]), tarOf(["nix/"], ["nix/c", "2"])];
    const expected = imageOf([layerOf(A), layerOf(c)], { config: historyOf(["a"], ["c"]) });
    const image = imageOf([layerOf(B), layerOf(A), layerOf(d)], { config: historyOf(["b"], ["a"], ["c"]) });
    const found = await verify(image, expected);
    expect(statusesOf(found)).toEqual(["unexpected", "same", "different"]);
    expect(found.layers[2]?.expected?.layer).toBe(2);
    const back = await verify(expected, image);
    expect(statusesOf(back)).toEqual(["same", "different"]);
    expect(back.missing).toMatchObject([{ layer: 1, diffId: sha256(B) }]);
  });

  it("does not do without a layer, even where all others are the same", async () => {
    const found = await verify(imageOf([layerOf(A)]), imageOf([layerOf(A), layerOf(B)]));
    expect([found.verified, statusesOf(found)]).toEqual([false, ["same"]]);
    expect(found.missing).toMatchObject([{ layer: 2, diffId: sha256(B) }]);
    expect(found.files?.removed.map(({ path }) => path)).toEqual(["/nix/b"]);
  });

  it("does not take another order for the same image", async () => {
    const config = { config: historyOf([], []) };
    const found = await verify(imageOf([layerOf(B), layerOf(A)], config), imageOf([layerOf(A), layerOf(B)], config));
    expect(found.verified).toBe(false);
    expect(statusesOf(found).sort()).toEqual(["moved", "same"]);
  });

  it("compares configs by what they say, and to the byte only where that is wanted", async () => {
    const expected = imageOf([layerOf(A)], { config: { config: { Cmd: ["x"] } } });
    const spelled = imageOf([layerOf(A)], { config: { config: { Env: null, Cmd: ["x"] } } });
    const stored = { manifest: expected.manifest?.descriptor, layers: [layerOf(A).descriptor] } as never;
    expect((await verify(spelled, expected)).verified).toBe(true);
    expect((await verify(spelled, expected, { stored })).verified).toBe(false);
    expect((await verify(expected, expected, { stored })).verified).toBe(true);
    // A docker-archive has no manifest that would tell.
    expect((await verify({ ...spelled, manifest: undefined }, expected, { stored })).verified).toBe(false);
    expect((await verify({ ...expected, manifest: undefined }, expected, { stored })).verified).toBe(true);
    const changed = await verify(imageOf([layerOf(A)], { config: { config: { Cmd: ["y"] } } }), expected);
    expect(changed.verified).toBe(false);
    expect(changed.config).toEqual([{ field: "config.Cmd", before: ["x"], after: ["y"] }]);
  });

  it("wants the same packed bytes, and the same manifest, where every byte is to be the same", async () => {
    const packed = layerOf(A, { packed: "gzip" });
    const image = imageOf([packed]);
    const expected = imageOf([layerOf(A)]);
    const manifest = image.manifest?.descriptor as never;
    const exactly = async (digest: string, other = manifest) =>
      await verify(image, expected, {
        stored: { manifest: other, layers: [{ ...packed.descriptor, digest } as never] },
      });
    expect((await exactly(packed.descriptor?.digest as string)).verified).toBe(true);
    const otherwise = await exactly(sha256("other"));
    expect([otherwise.verified, otherwise.layers[0]?.samePacking, otherwise.layers[0]?.status]).toEqual([
      false,
      false,
      "same",
    ]);
    const ofOther = await exactly(packed.descriptor?.digest as string, expected.manifest?.descriptor as never);
    expect(ofOther.verified).toBe(false);
  });

  it("knows a codec that is not this machine's", async () => {
    const annotated = (codec: string) => {
      const layer = layerOf(A, { packed: "gzip" });
      const annotations = { [COMPRESSION_ANNOTATION]: codec };
      return imageOf([{ ...layer, descriptor: { ...(layer.descriptor as object), annotations } as never }]);
    };
    const own = codecOf({ name: "gzip", level: 9 }) as string;
    const other = "gzip:9 zlib-1.2.11 blocks-1MiB";
    const [ours, theirs] = [
      await verify(annotated(own), annotated(own)),
      await verify(annotated(other), annotated(own)),
    ];
    expect([ours.verified, ours.layers[0]?.samePacking]).toEqual([true, null]);
    expect([theirs.verified, theirs.layers[0]?.samePacking]).toEqual([true, false]);
    expect(packingOf(annotated(other))).toEqual(parseCompression("gzip:9", ""));
    expect(packingOf(annotated("gzip:77 x"))).toEqual(parseCompression("gzip", ""));
    expect(packingOf(imageOf([]))).toEqual(parseCompression("none", ""));
    expect(layerMediaType("gzip")).toMatch(/gzip$/);
  });
});

describe("the likely causes", () => {
  const dir = (name: string, more = {}) => tarOf([name, more]);

  it("are other store paths, each beside the one that is there instead", async () => {
    const expected = imageOf([layerOf(A)], { config: historyOf(["hello-2.12.1", "only-here"]) });
    const found = await verify(imageOf([layerOf(B)], { config: historyOf(["hello-2.12", "new-1"]) }), expected);
    expect(found.causes.map(({ message }) => message)).toEqual([
      `the image has ${STORE}hello-2.12, the input ${STORE}hello-2.12.1`,
      `the image has ${STORE}new-1, the input does not`,
      `the input has ${STORE}only-here, the image does not`,
    ]);
  });

  it("are that the same store paths are split otherwise, or in another order", async () => {
    const one = imageOf([layerOf(A)], { config: historyOf(["a", "b"]) });
    const two = imageOf([layerOf(A), layerOf(B)], { config: historyOf(["a"], ["b"]) });
    expect((await verify(one, two)).causes).toMatchObject([
      { kind: "split", message: expect.stringContaining("in 1 layers of the image, and in 2 of what the input gives") },
    ]);
    const turned = imageOf([layerOf(B), layerOf(A)], { config: historyOf(["b"], ["a"]) });
    expect((await verify(turned, two)).causes).toMatchObject([
      { kind: "split", message: expect.stringContaining("order") },
    ]);
  });

  it.each([
    ["/nix/", "dockertools"],
    ["/", "nix2container"],
    ["./", "gnu"],
  ])("are another tar profile, by the first name: %s", async (name, profile) => {
    const found = await verify(imageOf([layerOf(dir(name))]), imageOf([layerOf(dir("nix/"))]));
    expect(found.causes[0]).toMatchObject({
      kind: "tar-profile",
      message: expect.stringContaining(`profile ${profile} in`),
    });
  });

  it("are other times and owners", async () => {
    const image = imageOf([layerOf(dir("nix/", { mtime: 9, uid: 5, uname: "me" }))], { config: { created: "B" } });
    const found = await verify(image, imageOf([layerOf(dir("nix/"))], { config: { created: "A" } }));
    expect(kindsOf(found)).toEqual(["mtime", "owner", "created"]);
    expect(found.causes[1]?.message).toContain("uid 5 instead of 0, uname me instead of none");
  });

  it("are that the store changed, or else the image", async () => {
    const config = { config: historyOf(["a"]) };
    const [image, expected] = [
      imageOf([layerOf(tarOf(["a", "2"]))], config),
      imageOf([layerOf(tarOf(["a", "1"]))], config),
    ];
    const withDamage = (paths: readonly string[] | undefined) =>
      verify(image, expected, { damagedStorePaths: async () => paths });
    expect(kindsOf(await withDamage(["/nix/store/x"]))).toEqual(["store-changed"]);
    expect(kindsOf(await withDamage([]))).toEqual(["contents"]);
    expect(kindsOf(await withDamage(undefined))).toEqual([]);
  });
});
