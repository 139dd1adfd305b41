import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layerEntries, ownership } from "../../src/build/file-tree.js";
import { BlockWriter } from "../../src/core/block-writer.js";
import { nullSink } from "../../src/core/byte-sink.js";
import { sha256 } from "../../src/core/digest.js";
import type { StorePath } from "../../src/nix/store-path.js";
import type { TarEntry } from "../../src/tar/entry-list.js";
import { tarProfile } from "../../src/tar/profiles.js";
import { tarBlob } from "../../src/tar/writer.js";

const STORE_PATHS = [
  "/nix/store/11111111111111111111111111111111-tree",
  "/nix/store/00000000000000000000000000000000-file",
  "/nix/store/22222222222222222222222222222222-link",
] as StorePath[];

/** Names whose length or bytes no plain ustar header holds, or just so. */
const NAMES: readonly (string | Buffer)[] = [
  "plain",
  ".hidden",
  "a b",
  "new\nline",
  "é",
  "😀",
  "\uffff",
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xed, 0xa0, 0x80]),
  ...[40, 41, 42, 43, 44, 99, 100, 101, 155, 255].map((length) => "n".repeat(length)),
];

let root: string;

beforeAll(() => {
  const umask = process.umask(0o022);
  root = mkdtempSync(join(tmpdir(), "oci-nix-golden-"));
  const [tree, file, link] = STORE_PATHS.map((path) => join(root, path)) as [string, string, string];
  mkdirSync(tree, { recursive: true, mode: 0o755 });
  writeFileSync(file, "the store path itself\n", { mode: 0o444 });
  symlinkSync("/nix/store/elsewhere", link);
  for (const [i, name] of NAMES.entries()) {
    const at = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(name)]);
    if (i % 3 === 2) mkdirSync(at, { mode: 0o555 });
    else writeFileSync(at, "x".repeat(511 + (i % 4)), { mode: i % 2 === 0 ? 0o444 : 0o555 });
  }
  const deep = join(tree, "d".repeat(155), "e".repeat(100));
  mkdirSync(deep, { recursive: true, mode: 0o755 });
  writeFileSync(join(deep, "f".repeat(255)), "", { mode: 0o444 });
  for (const length of [100, 101, 4000]) symlinkSync("l".repeat(length), join(tree, `link-${length}`));
  symlinkSync(Buffer.from([0x80, 0x0a]), join(tree, "link-bytes"));
  linkSync(join(tree, "plain"), join(tree, "plain-again"));
  process.umask(umask);
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

async function digestOf(owner: [number, number, string, string], mtime: number, blockSize?: number) {
  const profile = tarProfile("oci");
  const contents = STORE_PATHS.map((storePath) => ({ storePath }));
  const entries = await layerEntries(
    { contents, reason: "" },
    { storeRoot: root, profile, owner: ownership(...owner) },
  );
  const blob = tarBlob("layer", entries, { profile, mtime });
  const out = new BlockWriter(nullSink, blockSize === undefined ? {} : { blockSize });
  const digest = await blob.writeTo(out);
  expect(out.written).toBe(blob.size);
  return digest;
}

// A change of any of these is a new version of the profile, and breaks every digest that users have pinned.
describe("version 1 of the oci profile", () => {
  it.each([
    [[0, 0, "root", "root"], 1, "sha256:10aa940e96d2c18ab5d1f278196e037a674826d29091bfb83a100afaec96f53f"],
    [
      [2 ** 21 - 1, 2 ** 21, "u".repeat(32), "g".repeat(33)],
      2 ** 33,
      "sha256:5d913332259cc349ddc2783d949d11ecf703efb2eb72d7227ccfe44c3d97cb1f",
    ],
    [[2 ** 31, 2 ** 32 - 2, "é", ""], -1, "sha256:d675c3a3b3b9eb412ffd87d7853c7cb60703cdb347fe25146a89b75c01b460ee"],
  ] as const)("gives the recorded bytes for owner %j and mtime %d", async (owner, mtime, digest) => {
    expect(await digestOf([...owner], mtime)).toBe(digest);
  });

  it("gives the same bytes in blocks of any size", async () => {
    const digests = await Promise.all(
      [512, 513, 4096, 1 << 20].map((size) => digestOf([0, 0, "root", "root"], 1, size)),
    );
    expect(new Set(digests).size).toBe(1);
  });

  it("gives the recorded headers around 8 GiB", () => {
    const profile = tarProfile("oci");
    const headers = [8 ** 11 - 1, 8 ** 11].map((size) => {
      const entry: TarEntry = {
        path: "nix/store/big",
        type: "file",
        mode: 0o444,
        owner: ownership(0, 0, "root", "root"),
        size,
        linkTarget: "",
        source: "",
        hasPlainNames: true,
      };
      const bytes = Buffer.alloc(profile.headerLength(entry, 1));
      profile.putHeaders(bytes, 0, entry, 1);
      return `${bytes.length} ${sha256(bytes)}`;
    });
    expect(headers).toEqual([
      "512 sha256:3ff3aeb56e51ced44fac159e960d8698ec6ee76b39dfb69d50b12c419d84e1fc",
      "1536 sha256:295c182fb011fe7fdefb5bf136b8baea16f9e21681d7d75603a48076ff09d12c",
    ]);
  });

  it("lists a sparse file of 9 GiB without reading it", async () => {
    const storePath = "/nix/store/33333333333333333333333333333333-sparse" as StorePath;
    writeFileSync(join(root, storePath), "");
    truncateSync(join(root, storePath), 9 * 2 ** 30);
    const profile = tarProfile("oci");
    const owner = ownership(0, 0, "root", "root");
    const entries = await layerEntries({ contents: [{ storePath }], reason: "" }, { storeRoot: root, profile, owner });
    // Two parents, a pax header of two blocks, a header, the contents, two zero blocks.
    expect(tarBlob("layer", entries, { profile, mtime: 1 }).size).toBe(9 * 2 ** 30 + (2 + 3 + 2) * 512);
    rmSync(join(root, storePath));
  });
});
