import { Readable } from "node:stream";
import tar from "tar-stream";
import { describe, expect, it } from "vitest";
import { type ExportSummary, exportImage } from "../../../src/examine/export.js";
import type { StoredLayer } from "../../../src/transport/image.js";
import { type Entry, headerOf, imageOf, layerOf, tarOf } from "./fixtures.js";

type Entries = readonly (readonly [string, (Entry | string)?])[];

const layer = (...entries: Entries) => layerOf(tarOf(...entries));

async function exported(
  layers: readonly StoredLayer[],
): Promise<{ readonly archive: Buffer; readonly summary: ExportSummary }> {
  const pieces: Buffer[] = [];
  const sink = { write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) };
  const summary = await exportImage(imageOf(layers), sink);
  return { archive: Buffer.concat(pieces), summary };
}

/** What another tar implementation finds: `./d/`, `./f = text`, `./l -> target`, `./h == target`. */
async function linesOf(...layers: readonly StoredLayer[]): Promise<readonly string[]> {
  const { archive, summary } = await exported(layers);
  const lines: string[] = [];
  const extract = tar.extract();
  Readable.from([archive]).pipe(extract);
  for await (const entry of extract) {
    const { name, type, linkname } = entry.header;
    const contents: Buffer[] = [];
    for await (const piece of entry) contents.push(piece as Buffer);
    if (type === "file") lines.push(`${name} = ${Buffer.concat(contents).toString()}`);
    else lines.push(type === "directory" ? name : `${name} ${type === "link" ? "==" : "->"} ${linkname}`);
  }
  expect(summary).toEqual({ entries: lines.length, bytes: archive.length });
  return lines;
}

async function headersOf(...layers: readonly StoredLayer[]): Promise<readonly tar.Header[]> {
  const headers: tar.Header[] = [];
  const extract = tar.extract();
  extract.end((await exported(layers)).archive);
  for await (const entry of extract) {
    headers.push(entry.header);
    entry.resume();
  }
  return headers;
}

const error = (...layers: readonly StoredLayer[]) =>
  linesOf(...layers).then(
    () => undefined,
    (reason: Error) => reason,
  );

describe("the exported root file system", () => {
  it("has directories first, then files as they lie in the layers, then what has no contents", async () => {
    expect(
      await linesOf(
        layer(["z/"], ["z/b", "1"], ["a", { link: "z" }], ["z/a", "2"], ["z/c/"], ["e"]),
        layer(["z/0", "3"], ["b/"]),
      ),
    ).toEqual(["./b/", "./z/", "./z/c/", "./z/b = 1", "./z/a = 2", "./z/0 = 3", "./a -> z", "./e = "]);
  });

  it("has each path as the highest layer has it, whatever it was below", async () => {
    expect(
      await linesOf(
        layer(["f", "old"], ["was-dir/"], ["was-dir/x", "x"], ["was-file", "x"], ["d/"], ["d/kept", "kept"]),
        layer(["f", "new"], ["was-dir", "file"], ["was-file/"], ["was-file/y", "y"], ["d/", { mode: 0o700 }]),
      ),
    ).toEqual(["./d/", "./was-file/", "./d/kept = kept", "./f = new", "./was-dir = file", "./was-file/y = y"]);
  });

  it("hides what whiteouts name in lower layers, and only there", async () => {
    const below = layer(
      ["a", "1"],
      ["d/"],
      ["d/x", "2"],
      ["d/sub/"],
      ["d/sub/y", "3"],
      ["o/"],
      ["o/old", "4"],
      ["o/s/"],
    );
    const above = layer(["d/.wh.sub"], ["a", "new"], [".wh.a"], ["o/new", "5"], ["o/.wh..wh..opq"], [".wh.none"]);
    expect(await linesOf(below, above)).toEqual(["./d/", "./o/", "./d/x = 2", "./a = new", "./o/new = 5"]);
    expect(await linesOf(below, above, layer([".wh..wh..opq"], ["last", "6"]))).toEqual(["./last = 6"]);
  });

  it("ignores files that AUFS left, and whiteouts in what was a directory", async () => {
    const below = layer(["d/"], ["d/x", "1"]);
    expect(await linesOf(below, layer(["d", "file"], ["d/.wh.x"], [".wh..wh.plnk"], [".wh..wh.orph/"]))).toEqual([
      "./d = file",
    ]);
    expect(await linesOf(below, layer(["d", { link: "e" }], ["d/.wh.x"]))).toEqual(["./d -> e"]);
  });

  it("takes whiteouts in a directory that takes a symlink's place, as Docker writes them", async () => {
    const below = layer(["d/"], ["d/kept", "1"], ["l", { link: "d" }]);
    expect(await linesOf(below, layer(["l/"], ["l/.wh..wh..opq"], ["l/.wh.kept"], ["l/own", "2"]))).toEqual([
      "./d/",
      "./l/",
      "./d/kept = 1",
      "./l/own = 2",
    ]);
  });

  it("takes the last of several entries of a path in one layer", async () => {
    expect(await linesOf(layer(["f", "1"], ["f", "22"], ["d", "x"], ["d/"], ["d/e", "y"]))).toEqual([
      "./d/",
      "./f = 22",
      "./d/e = y",
    ]);
  });

  it("keeps hard links, under the first of the names in their order", async () => {
    expect(
      await linesOf(layer(["m", "text"], ["a", { type: "1", link: "/m" }], ["z", { type: "1", link: "./a" }])),
    ).toEqual(["./a = text", "./m == ./a", "./z == ./a"]);
    expect(await linesOf(layer(["s", { link: "m" }], ["t", { type: "1", link: "s" }]))).toEqual([
      "./s -> m",
      "./t == ./s",
    ]);
  });

  it("leaves a hard link its contents when its target is replaced or hidden above", async () => {
    const below = layer(["t", "old"], ["l", { type: "1", link: "t" }], ["u", "2"], ["k", { type: "1", link: "u" }]);
    expect(await linesOf(below, layer(["t", "new"], [".wh.u"]))).toEqual(["./l = old", "./k = 2", "./t = new"]);
  });

  it("links to files of lower layers", async () => {
    expect(await linesOf(layer(["t", "old"]), layer(["a", { type: "1", link: "t" }]), layer([".wh.t"]))).toEqual([
      "./a = old",
    ]);
  });

  it("leaves the root as it is where no layer has an entry for it", async () => {
    expect(await linesOf(layer(["./"], ["./a", "1"]))).toEqual(["./", "./a = 1"]);
    expect(await linesOf(layer(["/a", "1"]))).toEqual(["./a = 1"]);
    expect(await linesOf()).toEqual([]);
  });

  it("keeps owners, modes, times, devices and extended attributes, however large or odd", async () => {
    const pax = {
      uid: "3000000",
      gid: "4000000000",
      mtime: "1700000000.123456789",
      uname: "wörld",
      "SCHILY.xattr.user.b": "\0\n=\xff",
      "SCHILY.xattr.security.capability": "\x01\0",
    };
    const all = await headersOf(
      layer(
        ["f", { content: "x", pax, mode: 0o4755 }],
        ["null", { type: "3", mode: 0o666, uid: 5, uname: "five", device: { major: 1, minor: 3 } }],
        ["disk", { type: "4", device: { major: 259, minor: 1_048_575 } }],
        ["pipe", { type: "6" }],
        ["old", { pax: { mtime: "-1.5" } }],
      ),
    );
    const by = new Map(all.map((header) => [header.name, header]));
    expect(by.get("./f")).toMatchObject({ mode: 0o4755, size: 1 });
    expect(by.get("./f")?.pax).toMatchObject({
      uid: "3000000",
      gid: "4000000000",
      mtime: "1700000000.123456789",
      "SCHILY.xattr.security.capability": "\x01\0",
    });
    expect(by.get("./null")).toMatchObject({
      type: "character-device",
      mode: 0o666,
      uid: 5,
      uname: "five",
      devmajor: 1,
      devminor: 3,
    });
    expect(by.get("./disk")).toMatchObject({ type: "block-device", devmajor: 259, devminor: 1_048_575 });
    expect(by.get("./pipe")).toMatchObject({ type: "fifo" });
    expect(by.get("./old")?.pax).toMatchObject({ mtime: "-1.5" });
    const { archive } = await exported([layer(["f", { content: "x", pax }])]);
    expect(archive.includes(Buffer.from("SCHILY.xattr.user.b=\0\n=\xff\n", "latin1"))).toBe(true);
  });

  it("has the extended attributes that the highest layer gives a path, of whatever type, and those of the first name of a file alone", async () => {
    const pax = (value: string) => ({ pax: { [`SCHILY.xattr.trusted.${value}`]: value } });
    const all = await headersOf(
      layer(
        ["./", pax("root")],
        ["d/", pax("old")],
        ["d/kept", { content: "x", ...pax("kept") }],
        ["gone/", pax("gone")],
        ["f", { ...pax("one"), content: "x" }],
        ["l", { link: "f", ...pax("link") }],
        ["n", { type: "3", ...pax("device") }],
        ["z", { type: "1", link: "f", ...pax("ignored") }],
      ),
      layer(["d/", pax("new")], ["gone/"]),
    );
    const found = all.map(({ name, pax: records }) => [
      name,
      Object.keys(records ?? {}).filter((key) => key.startsWith("SCHILY.xattr.")),
    ]);
    expect(found).toEqual([
      ["./", ["SCHILY.xattr.trusted.root"]],
      ["./d/", ["SCHILY.xattr.trusted.new"]],
      ["./gone/", []],
      ["./d/kept", ["SCHILY.xattr.trusted.kept"]],
      ["./f", ["SCHILY.xattr.trusted.one"]],
      ["./l", ["SCHILY.xattr.trusted.link"]],
      ["./n", ["SCHILY.xattr.trusted.device"]],
      ["./z", []],
    ]);
  });

  it("keeps names as bytes, of any length", async () => {
    const long = `${"d".repeat(200)}/${"f".repeat(250)}`;
    const bytes = Buffer.from("b\xff", "latin1");
    const { archive } = await exported([layer(["b\xff", "2"], ["ü", { link: "l".repeat(300) }])]);
    expect(archive.includes(Buffer.concat([Buffer.from("path=./"), bytes, Buffer.from("\n")]))).toBe(true);
    expect(await linesOf(layer(["x", { content: "1", pax: { path: long } }]))).toEqual([
      `./${"d".repeat(200)}/`,
      `./${long} = 1`,
    ]);
    expect(await linesOf(layer(["l", { pax: { linkpath: "l".repeat(300) }, link: "x" }]))).toEqual([
      `./l -> ${"l".repeat(300)}`,
    ]);
  });

  it("is the same bytes every time, and however the layers are packed", async () => {
    const tars = [tarOf(["d/"], ["d/b", "1"], ["d/a", "x".repeat(100_000)]), tarOf(["c", "2"], ["d/.wh.b"])];
    const plain = await exported(tars.map((bytes) => layerOf(bytes)));
    const packed = await exported(tars.map((bytes) => layerOf(bytes, { packed: "gzip" })));
    expect(packed.archive.equals(plain.archive)).toBe(true);
  });

  it("reads a layer again only where some of its contents are left", async () => {
    const reads = [0, 0];
    const layers = [layer(["gone", "1"], ["d/"]), layer([".wh.gone"], ["f", "2"])].map((each, i) => {
      const { blob } = each;
      const writeTo: typeof blob.writeTo = (out) => {
        reads[i] = (reads[i] ?? 0) + 1;
        return blob.writeTo(out);
      };
      return { ...each, blob: { ...blob, writeTo } };
    });
    await exported(layers);
    expect(reads).toEqual([1, 2]);
  });
});

describe("layers that cannot be applied", () => {
  const link = (target: string): Entry => ({ type: "1", link: target });
  it.each<readonly [string, readonly Entries[], string]>([
    ["a name that leaves the root", [[["a/../../b", "x"]]], 'has a component ".."'],
    [
      "an entry in a symlink of a lower layer",
      [[["l", { link: "/etc" }]], [["l/passwd", "x"]]],
      "lies in l, which is a symlink",
    ],
    [
      "an entry in a symlink of its own layer",
      [[["l", { link: "/etc" }], ["l/passwd", "x"], ["l/"]]],
      "lies in l, which is a symlink",
    ],
    ["a directory in a symlink", [[["l", { link: "/etc" }], ["l/d/"]]], "lies in l, which is a symlink"],
    [
      "a whiteout in a symlink",
      [[["l", { link: "/etc" }]], [["l/.wh.passwd"]]],
      "a whiteout lies in l, a symlink of a lower layer",
    ],
    ["an entry in a file", [[["f", "x"]], [["f/g", "x"]]], "lies in f, which is no directory"],
    ["a hard link to nothing", [[["h", link("none")]]], "which is not there"],
    ["a hard link that leaves the root", [[["h", link("../../etc/passwd")]]], 'has a component ".."'],
    [
      "a hard link through a symlink",
      [[["l", { link: "d" }], ["d/"], ["d/f", "x"], ["h", link("l/f")]]],
      "which is not there",
    ],
    ["a hard link to a directory", [[["d/"], ["h", link("d")]]], "a directory"],
    ["a hard link to what its layer hides", [[["t", "x"]], [["h", link("t")], [".wh.t"]]], "which is not there"],
    ["a root that is no directory", [[["./", { type: "0" }]]], "is the root"],
    ["a whiteout of nothing", [[[".wh."]]], "no well-formed whiteout"],
    ["a name longer than Linux allows", [[["a", { pax: { path: "n".repeat(256) } }]]], "longer than Linux allows"],
    ["an owner that no file can have", [[["a", { pax: { uid: "-1" } }]]], "is owned by -1:0"],
    ["a symlink to nothing", [[["a", { type: "2" }]]], "links to nothing"],
    ["an unknown type", [[["a", { type: "Z" }]]], "none of POSIX's"],
    ["a file without its holes", [[["a", { pax: { "GNU.sparse.major": "1" } }]]], "without its holes"],
  ])("are refused for %s, before anything is written", async (_, layers, message) => {
    let written = 0;
    const sink = {
      write(bytes: Uint8Array) {
        written += bytes.length;
      },
    };
    const image = imageOf(layers.map((entries) => layer(...entries)));
    await expect(exportImage(image, sink)).rejects.toThrow(message);
    expect(written).toBe(0);
  });

  it("may have what is replaced later be of any type", async () => {
    expect(await linesOf(layer(["a", { type: "Z" }]), layer(["a", "x"]))).toEqual(["./a = x"]);
  });

  it("are refused where they are cut off, damaged, or declare what does not come", async () => {
    const huge = Buffer.concat([headerOf("f", { size: 8 ** 11 - 1 }), Buffer.alloc(2048)]);
    expect(await error(layerOf(huge))).toMatchObject({ code: "invalid-input" });
    expect(await error(layerOf(tarOf(["f", "x"]).subarray(0, 512)))).toMatchObject({ code: "invalid-input" });
    const one = tarOf(["f", "x"]);
    expect(await error(layerOf(one, { diffId: `sha256:${"0".repeat(64)}` }))).toMatchObject({ code: "verification" });
  });

  it("are an error where they are another when read again", async () => {
    const { blob, ...rest } = layer(["f", "x"]);
    let reads = 0;
    const other = layer(["f", "xy"]);
    const writeTo: typeof blob.writeTo = (out) => (reads++ === 0 ? blob : other.blob).writeTo(out);
    expect(await error({ ...rest, blob: { ...blob, writeTo } })).toMatchObject({ code: "changed" });
  });
});
