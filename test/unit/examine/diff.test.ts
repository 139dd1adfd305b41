import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffImages, type ImagesDiff } from "../../../src/examine/diff.js";
import { diffFiles } from "../../../src/examine/diff-files.js";
import { diffLayers } from "../../../src/examine/diff-layers.js";
import type { StoredLayer } from "../../../src/transport/image.js";
import { type Entry, imageOf, layerOf, tarOf } from "./fixtures.js";

type Entries = readonly (readonly [string, (Entry | string)?])[];

const layer = (...entries: Entries) => layerOf(tarOf(...entries));

/** What differs in the files, one line each: `+ /a`, `- /a`, `~ /a: mode, mtime`. */
function linesOf({ files }: ImagesDiff): readonly string[] {
  return [
    ...files.removed.map(({ path }) => `- ${path}`),
    ...files.added.map(({ path }) => `+ ${path}`),
    ...files.changed.map(({ path, changes }) => `~ ${path}: ${changes.map(({ attribute }) => attribute).join(", ")}`),
  ];
}

const diff = (a: readonly StoredLayer[], b: readonly StoredLayer[]) => diffImages(imageOf(a), imageOf(b));

/** The entries that can be in one layer together: each path once, nothing in a file, links to files that came before. */
function soundOf(entries: Entries): Entries {
  const kept = new Map<string, Entries[number]>();
  for (const entry of entries) {
    const path = entry[0].replace(/\/$/, "");
    const isFile = (at: string) => kept.get(at) !== undefined && !kept.get(at)?.[0].endsWith("/");
    const { type, link = "" } = (typeof entry[1] === "object" ? entry[1] : {}) as Entry;
    if (kept.has(path) || (type === "1" && !isFile(link))) continue;
    if (path.split("/").some((_, i, all) => isFile(all.slice(0, i).join("/")))) continue;
    if (!entry[0].endsWith("/") && [...kept.keys()].some((other) => other.startsWith(`${path}/`))) continue;
    kept.set(path, entry);
  }
  return [...kept.values()];
}

/** The layer, and a way to see whether it was read. */
function watched(inner: StoredLayer): { readonly layer: StoredLayer; readonly reads: () => number } {
  let reads = 0;
  const { blob } = inner;
  const writeTo: typeof blob.writeTo = (out) => {
    reads++;
    return blob.writeTo(out);
  };
  return { layer: { ...inner, blob: { ...blob, writeTo } }, reads: () => reads };
}

describe("files", () => {
  it("are added, removed and changed, each attribute by itself", async () => {
    const same: Entries = [["d/"], ["d/same", "x"]];
    const a = layer(
      ...same,
      ["c", "1"],
      ["dev", { type: "3" }],
      ["gone"],
      ["l", { link: "x" }],
      ["m"],
      ["o"],
      ["s", "1"],
      ["t"],
      ["x", { pax: { "SCHILY.xattr.user.a": "1" } }],
      ["y", { mtime: 5 }],
      ["z/"],
      ["z/below"],
    );
    const b = layer(
      ...same,
      ["c", "2"],
      ["dev", { type: "4" }],
      ["new/"],
      ["new/file", "abc"],
      ["l", { link: "y" }],
      ["m", { mode: 0o700 }],
      ["o", { uid: 7 }],
      ["s", "12"],
      ["t/"],
      ["x", { pax: { "SCHILY.xattr.user.a": "2" } }],
      ["y", { mtime: 6 }],
      ["z"],
    );
    const found = await diff([a], [b]);
    expect(linesOf(found)).toEqual([
      "- /gone",
      "- /z/below",
      "+ /new",
      "+ /new/file",
      "~ /c: content",
      "~ /dev: type",
      "~ /l: target",
      "~ /m: mode",
      "~ /o: owner",
      "~ /s: size, content",
      "~ /t: type, content",
      "~ /x: xattrs",
      "~ /y: mtime",
      "~ /z: type, content",
    ]);
    expect(found.equal).toBe(false);
    expect(found.files.added).toEqual([
      { path: "/new", type: "directory", size: 0 },
      { path: "/new/file", type: "file", size: 3 },
    ]);
    expect(found.files.changed.find(({ path }) => path === "/s")).toMatchObject({
      type: "file",
      sizeBefore: 1,
      sizeAfter: 2,
    });
  });

  it("are what the layers make together: replaced, whited out, hidden by an opaque directory", async () => {
    const base = layer(["d/"], ["d/a", "1"], ["d/b", "1"], ["e/"], ["e/f", "1"], ["g/"], ["g/h", "1"]);
    const top = layer(["d/"], ["d/a", "2"], ["d/.wh.b"], ["e/"], ["e/.wh..wh..opq"], ["e/new", "1"], ["g", "1"]);
    expect(linesOf(await diff([base], [base, top]))).toEqual([
      "- /d/b",
      "- /e/f",
      "- /g/h",
      "+ /e/new",
      "~ /d/a: content",
      "~ /g: type, size, content",
    ]);
  });

  it("are not the same for one layout of layers or the other", async () => {
    const flat = layer(["a/"], ["a/x", "1"], ["b", "2"]);
    const found = await diff([flat], [layer(["a/"], ["a/x", "1"]), layer(["b", "2"])]);
    expect(linesOf(found)).toEqual([]);
    expect(found.equal).toBe(false);
  });

  it("that are hard links have the contents of what they link to, wherever that is asked", async () => {
    const linked = layer(["a", "1"], ["b", { type: "1", link: "a" }]);
    const plain = layer(["a", "1"], ["b", "1"]);
    expect(linesOf(await diff([linked], [plain]))).toEqual([]);
    // Only `b` is touched by the layer that differs, and its contents are in `a`.
    expect(linesOf(await diff([linked], [linked, layer(["b", "1"])]))).toEqual([]);
    expect(linesOf(await diff([linked], [linked, layer(["b", "2"])]))).toEqual(["~ /b: content"]);
  });

  it("in directories that no layer lists are no directories of their own", async () => {
    expect(linesOf(await diff([layer(["d/"], ["d/a"])], [layer(["d/a"])]))).toEqual([]);
    expect(linesOf(await diff([layer(["d", "x"])], [layer(["d/a"])]))).toEqual(["+ /d/a", "~ /d: type"]);
  });

  it("are not read where all layers are the same", async () => {
    const one = watched(layer(["a"]));
    const found = await diff([one.layer], [one.layer]);
    expect([found.equal, found.sameBlobs, one.reads()]).toEqual([true, true, 0]);
    const moved = watched(layer(["b"]));
    await diff([one.layer, moved.layer], [moved.layer, one.layer]);
    // Both ways of seeing it read each layer once.
    expect([one.reads(), moved.reads()]).toEqual([1, 1]);
  });

  it("are the same whether what both images have is read in part or whole", async () => {
    const names = ["a", "a/b", "a/b/c", "a/d", "e", "e/b"];
    const entry = fc.oneof(
      fc.record({ name: fc.constantFrom(...names), content: fc.constantFrom("1", "2") }).map(({ name, content }) => {
        return [name, content] as const;
      }),
      fc.constantFrom(...names).map((name) => [`${name}/`] as const),
      fc.constantFrom(...names).map((name) => [name.replace(/[^/]*$/, ".wh.$&")] as const),
      fc.constantFrom(...names).map((name) => [`${name}/.wh..wh..opq`] as const),
      fc.constantFrom(...names).map((name) => [name, { link: "x" }] as const),
      fc
        .tuple(fc.constantFrom(...names), fc.constantFrom(...names))
        .map(([name, link]) => [name, { type: "1", link }] as const),
    );
    const someLayer = fc
      .array(entry, { maxLength: 4 })
      .map((entries) => ({ ...layer(...soundOf(entries)), entries: soundOf(entries) }));
    const images = fc
      .array(someLayer, { minLength: 1, maxLength: 4 })
      .chain((pool) =>
        fc.tuple(fc.subarray(pool), fc.subarray(pool), fc.array(someLayer, { maxLength: 1 }), fc.nat(3)),
      );
    await fc.assert(
      fc.asyncProperty(images, async ([a, b, more, at]) => {
        const [one, other] = [imageOf(a), imageOf([...b.slice(0, at), ...more, ...b.slice(at)])];
        const { ownOfA, ownOfB } = diffLayers(one, other);
        const inPart = await diffFiles(one, other, ownOfA, ownOfB, undefined);
        const all = (count: number) => new Set(Array.from({ length: count }, (_, i) => i));
        const whole = await diffFiles(one, other, all(one.layers.length), all(other.layers.length), undefined);
        expect(inPart).toEqual(whole);
      }),
      { numRuns: 2000 },
    );
  });

  it("are not compared where a layer is damaged or has names that no system takes", async () => {
    const sound = layer(["a"]);
    await expect(diff([sound], [layerOf(Buffer.from("x".repeat(512)))])).rejects.toMatchObject({
      code: "invalid-input",
    });
    const other = layerOf(tarOf(["a"]), { diffId: `sha256:${"0".repeat(64)}` });
    await expect(diff([sound], [other])).rejects.toMatchObject({ code: "verification" });
    const long = layer(["x", { pax: { path: "a/".repeat(5000) } }]);
    await expect(diff([sound], [long])).rejects.toMatchObject({ code: "limit" });
  });
});

describe("layers", () => {
  const [x, y, z, w] = ["x", "y", "z", "w"].map((name) => layer([name])) as [
    StoredLayer,
    StoredLayer,
    StoredLayer,
    StoredLayer,
  ];
  const id = ({ diffId }: StoredLayer) => diffId;

  it("are added, removed, moved, and the same", async () => {
    const { layers } = await diff([x, y, z], [y, w, x]);
    expect(layers).toEqual({
      same: 1,
      removed: [{ layer: 3, diffId: id(z), size: z.blob.size }],
      added: [{ layer: 2, diffId: id(w), size: w.blob.size }],
      moved: [{ diffId: id(x), before: 1, after: 3 }],
      repacked: [],
    });
  });

  it("that are packed in another way make no difference, and are listed", async () => {
    const packed = layerOf(tarOf(["x"]), { packed: "gzip" });
    const found = await diff([x, y], [packed, y]);
    expect([found.equal, found.sameBlobs]).toEqual([true, false]);
    expect(found.layers.repacked).toEqual([
      {
        diffId: id(x),
        before: { digest: id(x), size: x.blob.size, compression: "none" },
        after: { digest: packed.descriptor?.digest, size: packed.blob.size, compression: "gzip" },
      },
    ]);
  });
});

describe("configs", () => {
  const config = async (a: object, b: object) => {
    const one = layer(["a"]);
    const found = await diffImages(imageOf([one], { config: a }), imageOf([one], { config: b }));
    return found.config.map(({ field, before, after }) => [field, JSON.stringify(before), JSON.stringify(after)]);
  };

  it("are compared by field, variable, label and port", async () => {
    const a = {
      config: { Env: ["A=1", "B=2"], Cmd: ["a"], Labels: { x: "", y: "1" }, ExposedPorts: { "80/tcp": {} } },
    };
    const b = {
      author: "me",
      config: { Env: ["B=3", "C="], Cmd: ["a", "b"], Labels: { y: "1" }, ExposedPorts: { "81/tcp": {} } },
    };
    expect((await config(a, b)).map(([field]) => field)).toEqual([
      "author",
      "config.Cmd",
      "config.Env.A",
      "config.Env.B",
      "config.Env.C",
      "config.ExposedPorts.80/tcp",
      "config.ExposedPorts.81/tcp",
      "config.Labels.x",
    ]);
    expect(await config({ config: { Env: ["A=1"] } }, { config: { Env: ["A=2", "A=1"] } })).toEqual([
      ["config.Env.A", '"1"', '["2","1"]'],
    ]);
    // Each once: a hostile config may have a million of them.
    const many = { config: { Env: new Array(300_000).fill("A=1") } };
    expect(await config(many, many)).toEqual([]);
    expect(await config({ rootfs: { type: "layers" } }, { rootfs: { type: "other", base_layer: "b" } })).toEqual([
      ["rootfs.base_layer", "null", '"b"'],
      ["rootfs.type", '"layers"', '"other"'],
    ]);
    expect(await config({ config: { Env: ["A=1"] } }, { config: { Env: ["A=2"] } })).toEqual([
      ["config.Env.A", '"1"', '"2"'],
    ]);
  });

  it("do not differ in the order of keys, and in what is empty or absent", async () => {
    expect(
      await config({ config: { Cmd: ["a"], User: "" } }, { config: { Tty: false, Env: [], Labels: null, Cmd: ["a"] } }),
    ).toEqual([]);
  });
});
