import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryName } from "../../../src/core/temporary.js";
import { openOciLayoutTarget } from "../../../src/transport/oci-layout.js";
import { formatTransport, parseTransport } from "../../../src/transport/transport.js";
import { deliverAll, imageOf } from "../../support/outgoing.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-layout-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const write = async (tag: string | undefined, ...layers: readonly string[]) => {
  const [image] = await deliverAll([imageOf(layers)], [openOciLayoutTarget(directory, tag)]);
  if (image === undefined) throw new Error("one image gives one");
  return image;
};
const read = (...path: readonly string[]) => readFileSync(join(directory, ...path), "utf8");
const index = () => JSON.parse(read("index.json"));
const blobs = () => readdirSync(join(directory, "blobs", "sha256")).sort();
/** All files but the temporary ones, with their contents. */
const state = () => [
  read("oci-layout"),
  read("index.json"),
  ...blobs().map((name) => [name, read("blobs", "sha256", name)]),
];

describe("an OCI layout", () => {
  it("leaves nothing behind where nothing came of it", async () => {
    const made = join(directory, "new", "layout");
    const failing = () => deliverAll([imageOf(["a"], { failing: "a" })], [openOciLayoutTarget(made, "1")]);
    await expect(failing()).rejects.toThrow("a file changed");
    expect(existsSync(made)).toBe(false);
    mkdirSync(made, { recursive: true });
    await expect(failing()).rejects.toThrow("a file changed");
    expect(readdirSync(made)).toEqual([]);
  });

  it("holds layers, config and manifest by their digests, and names the image in its index", async () => {
    const { manifest, config, layers } = await write("1", "lower", "upper");
    expect(JSON.parse(read("oci-layout"))).toEqual({ imageLayoutVersion: "1.0.0" });
    expect(index()).toEqual({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "1" } }],
    });
    for (const name of blobs()) {
      expect(
        createHash("sha256")
          .update(read("blobs", "sha256", name))
          .digest("hex"),
      ).toBe(name);
    }
    expect(JSON.parse(read("blobs", "sha256", manifest.digest.slice(7)))).toEqual({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers,
    });
    expect(layers.map(({ mediaType, size }) => [mediaType, size])).toEqual([
      ["application/vnd.oci.image.layer.v1.tar", 5],
      ["application/vnd.oci.image.layer.v1.tar", 5],
    ]);
    expect(read("blobs", "sha256", (layers[1] as { digest: string }).digest.slice(7))).toBe("upper");
    expect(readdirSync(directory).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  it("is the same when an image is written twice", async () => {
    await write("1", "a");
    const once = state();
    await write("1", "a");
    expect(state()).toEqual(once);
  });

  it("keeps other images, and replaces the one of the same tag", async () => {
    await write("1", "a");
    const { manifest } = await write("2", "b");
    await write("1", "c");
    expect(index().manifests).toHaveLength(2);
    expect(index().manifests[0]).toMatchObject({ digest: manifest.digest });
    await write(undefined, "d");
    await write(undefined, "d");
    expect(index().manifests).toHaveLength(3);
  });

  it("keeps what else its index says", async () => {
    await write("1", "a");
    const annotations = { "org.example.note": "kept" };
    writeFileSync(join(directory, "index.json"), JSON.stringify({ ...index(), annotations }));
    await write("2", "b");
    expect(index()).toMatchObject({ annotations });
    expect(index().manifests).toHaveLength(2);
  });

  it("is mended where a document of it was damaged, its size being right", async () => {
    const { manifest } = await write("1", "a");
    const file = join(directory, "blobs", manifest.digest.replace(":", "/"));
    const bytes = readFileSync(file);
    writeFileSync(file, Buffer.alloc(bytes.length, "x"));
    await write("1", "a");
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });

  it("is as it was where a layer cannot be made", async () => {
    await write("1", "a");
    const before = index();
    const image = imageOf(["b", "c"], { failing: "c" });
    await expect(deliverAll([image], [openOciLayoutTarget(directory, "1")])).rejects.toThrow("a file changed");
    expect(index()).toEqual(before);
    expect(readdirSync(directory).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  it("loses the temporary files of those who were killed, also among its blobs", async () => {
    await write("1", "a");
    const before = state();
    const left = temporaryName(join(directory, "blobs", "sha256")).replace(`-${process.pid}-`, `-${2 ** 22 + 1}-`);
    for (const file of [left, join(directory, basename(left))]) writeFileSync(file, "half a layer");
    await write("1", "a");
    expect(state()).toEqual(before);
    expect(readdirSync(directory).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  it("is not made of a directory that holds something else, or of a file", async () => {
    writeFileSync(join(directory, "notes.txt"), "");
    await expect(write("1", "a")).rejects.toThrow(`${directory} is no OCI layout: it holds notes.txt`);
    expect(readdirSync(directory)).toEqual(["notes.txt"]);
    const file = join(directory, "notes.txt");
    expect(() => openOciLayoutTarget(file, "1")).toThrow("there is something else of that name");
  });

  it("is refused at once where no directory can be made (mkdir of Node never came back)", async () => {
    const target = openOciLayoutTarget("/proc/oci-nix/layout", "1");
    await expect(deliverAll([imageOf(["a"])], [target])).rejects.toThrow("cannot make the directory /proc/oci-nix");
  });

  it.each(["", "[]", '{"manifests": {}}', "{"])("is left alone where its index is broken: %s", async (text) => {
    mkdirSync(join(directory, "blobs"));
    writeFileSync(join(directory, "oci-layout"), "{}");
    writeFileSync(join(directory, "index.json"), text);
    await expect(write("1", "a")).rejects.toThrow(join(directory, "index.json"));
    expect(read("index.json")).toBe(text);
    expect(existsSync(join(directory, "blobs", "sha256")) ? blobs() : []).toEqual([]);
  });
});

describe("a transport", () => {
  it.each([
    ["oci:dir", { transport: "oci", directory: "dir", ref: undefined }],
    ["oci:dir:tag", { transport: "oci", directory: "dir", ref: "tag" }],
    [
      "oci:/a/b:registry.example:5000/app:1",
      { transport: "oci", directory: "/a/b", ref: "registry.example:5000/app:1" },
    ],
    ["oci-archive:x.tar", { transport: "oci-archive", file: "x.tar", ref: undefined }],
    ["oci-archive:-:1", { transport: "oci-archive", file: "-", ref: "1" }],
    ["docker-archive:-", { transport: "docker-archive", file: "-", ref: undefined }],
    ["docker-archive:x.tar:app", { transport: "docker-archive", file: "x.tar", ref: "app:latest" }],
    [
      "docker-archive:x.tar:localhost:5000/app:1",
      { transport: "docker-archive", file: "x.tar", ref: "localhost:5000/app:1" },
    ],
    ["containers-storage:app", { transport: "containers-storage", ref: "docker.io/library/app:latest" }],
    ["containers-storage:localhost/app:1", { transport: "containers-storage", ref: "localhost/app:1" }],
    [
      "docker://app",
      { transport: "docker", host: "docker.io", repository: "library/app", tag: "latest", digest: undefined },
    ],
    [
      "docker://team/app:1",
      { transport: "docker", host: "docker.io", repository: "team/app", tag: "1", digest: undefined },
    ],
    [
      "docker://[::1]:5000/a/b",
      { transport: "docker", host: "[::1]:5000", repository: "a/b", tag: "latest", digest: undefined },
    ],
    [
      `docker://localhost/app@sha256:${"a".repeat(64)}`,
      {
        transport: "docker",
        host: "localhost",
        repository: "app",
        tag: undefined,
        digest: `sha256:${"a".repeat(64)}`,
      },
    ],
    [
      `docker://registry.example:5000/app:1@sha256:${"a".repeat(64)}`,
      {
        transport: "docker",
        host: "registry.example:5000",
        repository: "app",
        tag: "1",
        digest: `sha256:${"a".repeat(64)}`,
      },
    ],
  ])("is parsed, and written as it was: %s", (text, name) => {
    expect(parseTransport(text)).toEqual(name);
    expect(parseTransport(formatTransport(parseTransport(text)))).toEqual(name);
  });

  it.each([
    ["oic:dir", /names no transport/],
    ["dir", /names no transport/],
    ["", /names no transport/],
    ["oci:", /the directory is missing/],
    ["oci-archive::1", /the file is missing/],
    ["oci:dir:-x", /cannot name an image in an OCI layout/],
    ["oci:dir:", /the name after the colon is missing/],
    ["docker-archive:x.tar:", /the name after the colon is missing/],
    ["docker-archive:x.tar:App", /is not an image name/],
    ["containers-storage:", /the name is missing/],
    ["dir:image", /to dir: yet/],
    ["docker:app", /what follows docker: is \/\/NAME/],
    ["docker://", /what follows docker: is \/\/NAME/],
    ["docker://App", /image names are lower case|is not an image name/],
    ["docker://app:-", /is not an image tag/],
    ["docker://app@sha256:0", /is not a sha256 digest/],
    ["docker://r.example/app@sha512:abc", /"sha512:abc" is no digest that images have here/],
    ["docker://r.example/app:1@", /the digest after @ is missing/],
    ["docker://user:hunter2@r.example:5000", /neither a scheme nor a user belongs to it/],
    ["docker://user:hunter2@md5", /neither a scheme nor a user belongs to it/],
  ])("is refused: %j", (text, message) => {
    expect(() => parseTransport(text)).toThrow(message);
  });
});
