import { describe, expect, it } from "vitest";
import { parseJson } from "../../../src/core/json.js";
import { diffIdsOf, formatManifest, layerMediaType, MediaType, parseManifest } from "../../../src/oci/manifest.js";
import { formatPlatform, isPlatform, parsePlatform } from "../../../src/oci/platform.js";

const DIGEST = `sha256:${"a".repeat(64)}` as const;
const descriptor = { mediaType: MediaType.config, digest: DIGEST, size: 7 };
const parse = (value: unknown, mediaType?: string) =>
  parseManifest(parseJson(typeof value === "string" ? value : JSON.stringify(value), "x"), mediaType, "x");

describe("parseManifest", () => {
  it("reads what formatManifest writes", () => {
    const layers = (["none", "gzip", "zstd"] as const).map((compression) => ({
      mediaType: layerMediaType(compression),
      digest: DIGEST,
      size: 2 ** 40,
    }));
    expect(parse(formatManifest(descriptor, layers))).toEqual({ kind: "manifest", config: descriptor, layers });
  });

  it("keeps annotations, of whatever keys", () => {
    const json = `{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"${DIGEST}","size":0,"annotations":{"__proto__":"x","1":""}}]}`;
    const parsed = parse(json);
    if (parsed.kind !== "index") throw new Error("no index");
    expect(Object.entries(parsed.manifests[0]?.descriptor.annotations ?? {}).sort()).toEqual([
      ["1", ""],
      ["__proto__", "x"],
    ]);
  });

  const manifest = { schemaVersion: 2, mediaType: MediaType.manifest, config: descriptor, layers: [] };
  it.each([
    ["no object", [], /x is not an object/],
    ["another version", { ...manifest, schemaVersion: 1 }, /schemaVersion is not 2/],
    ["a version in a string", { ...manifest, schemaVersion: "2" }, /schemaVersion is not 2/],
    ["no config", { ...manifest, config: undefined }, /x: config is not a descriptor/],
    ["no layers", { ...manifest, layers: null }, /x: layers is not an array/],
    [
      "a layer of no size",
      { ...manifest, layers: [{ ...descriptor, size: "7" }] },
      /x: layers\[0\]: size is not a count/,
    ],
    [
      "a layer of half a byte",
      { ...manifest, layers: [{ ...descriptor, size: 0.5 }] },
      /x: layers\[0\]: size is not a count/,
    ],
    ["a layer beyond counting", { ...manifest, layers: [{ ...descriptor, size: 2 ** 53 }] }, /size is not a count/],
    [
      "a digest in capitals",
      { ...manifest, config: { ...descriptor, digest: DIGEST.toUpperCase() } },
      /config: digest: .* is not/,
    ],
    ["what is no manifest", { ...manifest, mediaType: "text/plain" }, /text\/plain is no image manifest or index/],
    [
      "layers in an index",
      { schemaVersion: 2, manifests: [], layers: [] },
      /is an image index, and has layers as well/,
    ],
    [
      "a platform that is none",
      { schemaVersion: 2, manifests: [{ ...descriptor, platform: { os: 1 } }] },
      /manifests\[0\]: platform: os/,
    ],
  ])("refuses %s", (_, value, message) => {
    expect(() => parse(value)).toThrow(message);
    expect(() => parse(value)).toThrow(expect.objectContaining({ name: "OciNixError" }) as Error);
  });
});

describe("diffIdsOf", () => {
  it("takes Go's null for an empty list, and refuses what is no image config", () => {
    const of = (text: string) => diffIdsOf(parseJson(text, "c"), "c");
    expect(of('{"rootfs":{"type":"layers","diff_ids":null}}')).toEqual([]);
    expect(of(`{"rootfs":{"diff_ids":["${DIGEST}"]}}`)).toEqual([DIGEST]);
    expect(() => of("{}")).toThrow(/c is not an image config/);
    expect(() => of('{"rootfs":{"diff_ids":[1]}}')).toThrow(/c: rootfs\.diff_ids\[0\]: 1 is not a sha256 digest/);
  });
});

describe("platforms", () => {
  it("are equal where a variant is what the name alone stands for", () => {
    const is = (found: string, wanted: string) => isPlatform(parsePlatform(found, "a"), parsePlatform(wanted, "b"));
    expect(is("linux/arm64", "linux/arm64/v8")).toBe(true);
    expect(is("linux/arm64/v8", "linux/arm64")).toBe(true);
    expect(is("linux/arm", "linux/arm/v7")).toBe(true);
    expect(is("linux/arm/v6", "linux/arm/v7")).toBe(false);
    expect(is("linux/amd64", "linux/arm64")).toBe(false);
    expect(isPlatform(undefined, parsePlatform("linux/amd64", "c"))).toBe(false);
  });

  it.each(["linux/amd64", "linux/arm/v7"])("are written as they are read: %s", (text) => {
    expect(formatPlatform(parsePlatform(text, "x"))).toBe(text);
  });

  it.each(["", "linux", "linux/", "linux/arm/v7/x", "Linux/AMD64"])("refuses %j", (text) => {
    expect(() => parsePlatform(text, "--platform")).toThrow(/--platform: .* is not a platform/);
  });
});
