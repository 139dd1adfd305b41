import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import tar from "tar-stream";
import { describe, expect, it } from "vitest";
import { layerEntries, ownership } from "../../src/build/file-tree.js";
import { BlockWriter } from "../../src/core/block-writer.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { type TarProfileName, tarProfile } from "../../src/tar/profiles.js";
import { tarBlob } from "../../src/tar/writer.js";
import { expectOk, runCommand } from "../support/command.js";

/** What an archive or a directory says of one object; bytes as latin1. */
interface Fact {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly size: number;
  readonly link: string;
  readonly content: string;
}
interface OwnedFact extends Fact {
  readonly owner: readonly [number, number, string, string];
  readonly mtime: number;
}

type Tree =
  | { readonly file: Uint8Array; readonly executable: boolean }
  | { readonly link: Uint8Array }
  | { readonly directory: readonly (readonly [Uint8Array, Tree])[] };

const bytes = (min: number, max: number) =>
  fc
    .oneof(
      fc.uint8Array({ minLength: min, maxLength: max }),
      fc
        .string({ unit: "binary", minLength: min, maxLength: max / 4 })
        .map((text) => new Uint8Array(Buffer.from(text))),
      fc.constantFrom(40, 57, 99, 100, 101, 155, 156, 255).map((length) => new Uint8Array(length).fill(0x61)),
    )
    .map((value) => value.filter((byte) => byte !== 0).subarray(0, max));

const nameBytes = bytes(1, 255)
  .map((value) => value.filter((byte) => byte !== 0x2f))
  .filter((value) => value.length > 0 && !/^\.\.?$/.test(Buffer.from(value).toString("latin1")));

const trees = fc.letrec<{ tree: Tree; directory: Tree }>((tie) => ({
  directory: fc.record({
    directory: fc.uniqueArray(fc.tuple(nameBytes, tie("tree")), {
      maxLength: 5,
      selector: ([name]) => Buffer.from(name).toString("latin1"),
    }),
  }),
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ file: fc.uint8Array({ maxLength: 1100, size: "max" }), executable: fc.boolean() }),
    fc.record({ link: bytes(1, 400).filter((target) => target.length > 0) }),
    tie("directory"),
  ),
})).directory;

function plant(path: Buffer, tree: Tree): void {
  if ("file" in tree) {
    writeFileSync(path, tree.file);
    chmodSync(path, tree.executable ? 0o555 : 0o444);
  } else if ("link" in tree) symlinkSync(Buffer.from(tree.link), path);
  else {
    mkdirSync(path);
    for (const [name, child] of tree.directory) plant(Buffer.concat([path, Buffer.from("/"), name]), child);
    chmodSync(path, 0o755);
  }
}

/** What lies at a path, the names below `skip`. */
function survey(path: Buffer, skip: number, facts: Fact[] = []): Fact[] {
  const stat = lstatSync(path);
  const type = stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "file";
  facts.push({
    name: path.toString("latin1").slice(skip),
    type,
    mode: stat.mode & 0o7777,
    size: type === "file" ? stat.size : 0,
    link: type === "symlink" ? readlinkSync(path, "latin1") : "",
    content: type === "file" ? readFileSync(path, "latin1") : "",
  });
  if (type === "directory") {
    for (const name of readdirSync(path, "buffer")) survey(Buffer.concat([path, Buffer.from("/"), name]), skip, facts);
  }
  return facts;
}

const PYTHON = `
import tarfile, json, sys, os
types = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink"}
text = lambda s: os.fsencode(s).decode("latin1")
with tarfile.open(sys.argv[1]) as t:
    json.dump([{"name": text(m.name), "type": types[m.type], "mode": m.mode, "size": m.size, "link": text(m.linkname),
        "content": t.extractfile(m).read().decode("latin1") if m.isfile() else "",
        "owner": [m.uid, m.gid, m.uname, m.gname], "mtime": m.mtime} for m in t], sys.stdout)
`;

async function readWithPython(archive: string): Promise<OwnedFact[]> {
  const result = await runCommand("python3", ["-c", PYTHON, archive], { env: { ...process.env, PYTHONUTF8: "1" } });
  return JSON.parse(expectOk(result, "tarfile").stdout.toString()) as OwnedFact[];
}

async function readWithTarStream(archive: Buffer): Promise<OwnedFact[]> {
  const facts: OwnedFact[] = [];
  const extract = tar.extract();
  extract.end(archive);
  const text = (value: string | null | undefined) => Buffer.from(value ?? "").toString("latin1");
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, mode, size, linkname, uid, gid, uname, gname, mtime } = entry.header;
    facts.push({
      name: text(name),
      type: type as string,
      mode: mode as number,
      size: size as number,
      link: text(linkname),
      content: Buffer.concat(chunks).toString("latin1"),
      owner: [uid as number, gid as number, uname as string, gname as string],
      mtime: (mtime as Date).getTime() / 1000,
    });
  }
  return facts;
}

const byName = (a: Fact, b: Fact) => (a.name < b.name ? -1 : 1);
const stripped = <T extends Fact>(facts: readonly T[]): T[] =>
  facts.map((fact) => ({ ...fact, name: fact.name.replace(/^\/+|\/+$/g, "") })).sort(byName);

const STORE_PATH = "/nix/store/00000000000000000000000000000000-tree" as StorePath;
const OWNERS = [
  [0, 0, "root", "root"],
  [1000, 100, "u".repeat(32), "g".repeat(33)],
  [2 ** 21, 2 ** 31, "é", "users"],
  [2 ** 32 - 2, 2 ** 21 - 1, "", ""],
] as const;

describe.each(["oci", "dockertools"] as const)("an archive of the %s profile", (profileName: TarProfileName) => {
  it("says to Python, GNU tar and tar-stream what the tree says, for any tree", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        trees,
        fc.constantFrom(...OWNERS),
        fc.constantFrom(1, 0, 2 ** 33, -5),
        async (tree, owner, mtime) => {
          const root = mkdtempSync(join(tmpdir(), "oci-nix-read-back-"));
          try {
            mkdirSync(join(root, "nix/store"), { recursive: true, mode: 0o755 });
            plant(Buffer.from(root + STORE_PATH), tree);
            const profile = tarProfile(profileName);
            const entries = await layerEntries(
              { contents: [{ storePath: STORE_PATH }], reason: "" },
              { storeRoot: root, profile, owner: ownership(owner[0], owner[1], owner[2], owner[3]) },
            );
            const chunks: Buffer[] = [];
            const sink = { write: (block: Uint8Array) => void chunks.push(Buffer.from(block)) };
            const out = new BlockWriter(sink);
            await tarBlob("layer", entries, { profile, mtime }).writeTo(out);
            await out.flush();
            const archive = Buffer.concat(chunks);
            const file = join(root, "layer.tar");
            writeFileSync(file, archive);
            const expected = stripped(survey(Buffer.from(root + STORE_PATH), root.length));
            const below = (fact: Fact) => fact.name.startsWith("nix/store/");

            const python = stripped(await readWithPython(file));
            expect(python.filter(below).map(({ owner: _, mtime: __, ...fact }) => fact)).toEqual(expected);
            for (const fact of python) expect([fact.owner, fact.mtime]).toEqual([[...owner], mtime]);

            const target = join(root, "unpacked");
            mkdirSync(target);
            const flags = ["--numeric-owner", "-p", ...(process.getuid?.() === 0 ? ["--same-owner"] : [])];
            expectOk(await runCommand("tar", ["-x", "-f", file, "-C", target, ...flags]), "tar");
            expect(stripped(survey(Buffer.from(target + STORE_PATH), target.length))).toEqual(expected);
            if (process.getuid?.() === 0) {
              const { uid, gid } = lstatSync(target + STORE_PATH);
              expect([uid, gid]).toEqual([owner[0], owner[1]]);
            }

            // It decodes names, so only text survives it.
            const isText = (fact: Fact) =>
              [fact.name, fact.link].every(
                (value) => Buffer.from(Buffer.from(value, "latin1").toString()).toString("latin1") === value,
              );
            const seen = stripped(await readWithTarStream(archive)).filter(below);
            if (expected.every(isText)) {
              expect(seen.map(({ owner: _, mtime: __, ...fact }) => fact)).toEqual(expected);
            } else expect(seen).toHaveLength(expected.length);
          } finally {
            rmSync(root, { recursive: true, force: true });
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
