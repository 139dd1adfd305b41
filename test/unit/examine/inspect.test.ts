import { describe, expect, it } from "vitest";
import { formatJson, toJson } from "../../../src/core/json.js";
import { inspectImages } from "../../../src/examine/inspect.js";
import { storePathsComment } from "../../../src/oci/image.js";
import { imageOf, layerOf, sourceOf, tarOf } from "./fixtures.js";

describe("inspecting images", () => {
  it("gives what manifest and config say, and reads no layer", () => {
    const unread = layerOf(tarOf(["a"]));
    const blob = { ...unread.blob, writeTo: () => Promise.reject(new Error("it was read")) };
    const descriptor = { ...unread.descriptor, annotations: { "dev.oci-nix.compression": "gzip:6 zlib 1.3" } };
    const layers = [
      { ...unread, blob },
      { ...unread, blob, descriptor: descriptor as NonNullable<typeof unread.descriptor> },
      { ...unread, blob, descriptor: undefined },
    ];
    const paths = ["/nix/store/a-it's", "/nix/store/b"];
    const history = [{ empty_layer: true }, { created_by: "COPY" }, { comment: storePathsComment(paths) }];
    const image = imageOf(layers.slice(0, 3), {
      manifest: { layers: [] },
      config: { created: "2020-01-01T00:00:00Z", variant: "v2", config: { "9": 1, "1": 1.5 }, history },
    });
    const [inspected, second] = inspectImages(sourceOf(image, { ...imageOf([]), manifest: undefined, names: [] }));
    expect(inspected).toMatchObject({
      names: ["app:1"],
      manifest: image.manifest?.descriptor,
      configDescriptor: image.config.descriptor,
      platform: { os: "linux", architecture: "amd64", variant: "v2" },
      created: "2020-01-01T00:00:00Z",
      size: 3 * unread.blob.size,
      layers: [
        { codec: null, compression: "none", digest: unread.diffId, size: unread.blob.size, storePaths: null },
        { codec: "gzip:6 zlib 1.3", mediaType: "application/vnd.oci.image.layer.v1.tar", storePaths: paths },
        { mediaType: null, digest: null, diffId: unread.diffId, history: null },
      ],
    });
    expect(second).toMatchObject({ names: [], manifest: null, created: null, layers: [], size: 0 });
    // Keys that look like numbers would come first in a JavaScript object.
    const text = Buffer.from(image.config.bytes).toString();
    expect(formatJson(toJson(inspected?.config))).toBe(text);
  });
});
