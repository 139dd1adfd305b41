import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLayers } from "../../src/build/layers.js";
import { planImage } from "../../src/build/plan/plan-image.js";
import { checkSpec } from "../../src/build/spec/spec.js";
import { walkStore } from "../../src/build/store-walk.js";
import { BlockWriter } from "../../src/core/block-writer.js";
import { compareStrings } from "../../src/core/errors.js";
import { EventLoopTurns } from "../../src/core/event-loop-turns.js";
import { toJson } from "../../src/core/json.js";
import { EntryList } from "../../src/tar/entry-list.js";
import { layerProfile } from "../../src/tar/profiles.js";
import { tarBlob } from "../../src/tar/writer.js";
import { requireTools } from "../support/tools.js";
import { makeTreeStore } from "../support/trees.js";

const OPTIONS = ["--sort=name", "--numeric-owner", "--mtime", "@315532800", "--hard-dereference"];
const GNU = layerProfile("gnu");
const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const [A, B] = [path("a", "a"), path("b", "b")];

/** What GNU tar makes of a directory, as nixpkgs calls it. */
function byTar(directory: string): Buffer {
  return execFileSync("tar", [...OPTIONS, "-cf", "-", "."], { cwd: directory, maxBuffer: 1 << 28 });
}

async function bytesOf(blob: { writeTo(out: BlockWriter): Promise<unknown> }): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const out = new BlockWriter({ write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) });
  await blob.writeTo(out);
  await out.flush();
  return Buffer.concat(pieces);
}

/** What the tar profile makes of the same directory. */
async function byProfile(directory: string): Promise<Buffer> {
  const entries = new EntryList();
  await walkStore(directory, compareStrings, new EventLoopTurns(undefined), (found) => {
    const { uid, gid } = lstatSync(Buffer.from(found.source, "latin1"));
    const owner = { uid, gid, uname: "somebody", gname: "else" };
    entries.append({ ...found, owner, ...(found.depth === 0 ? { name: "" } : {}) });
  });
  return await bytesOf(tarBlob("a test", entries, { profile: GNU, mtime: 7 }));
}

describe.skipIf(requireTools("tar"))("the tar profile gnu", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-gnu-tar-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const fresh = () => mkdtempSync(join(directory, "tree-"));

  it("gives ./ alone of an empty tree", async () => {
    const tree = fresh();
    const archive = byTar(tree);
    expect(archive).toHaveLength(10_240);
    expect((await byProfile(tree)).equals(archive)).toBe(true);
  });

  it("equals GNU tar at every limit of a header: names, targets and owners", async () => {
    const tree = fresh();
    for (const length of [96, 97, 98, 99, 100, 101, 254, 255]) {
      writeFileSync(join(tree, "f".repeat(length)), "x".repeat(length));
      mkdirSync(join(tree, "d".repeat(length)));
      for (const target of [99, 100, 101, 511, 512, 513, 4095]) {
        symlinkSync("t".repeat(target), join(tree, "d".repeat(length), `${target}`));
      }
    }
    for (const id of [1000, 8 ** 7 - 1, 8 ** 7, 2 ** 31, 2 ** 32 - 2]) {
      writeFileSync(join(tree, `${id}`), "");
      lchownSync(join(tree, `${id}`), id, id);
    }
    for (const mode of [0o0000, 0o4755, 0o2755, 0o1777]) {
      mkdirSync(join(tree, `mode-${mode}`));
      chmodSync(join(tree, `mode-${mode}`), mode);
    }
    expect((await byProfile(tree)).equals(byTar(tree))).toBe(true);
  });

  it("equals GNU tar for a file of more bytes than octal digits tell", async () => {
    for (const size of [8 ** 11 - 1, 8 ** 11, 8 ** 11 + 1000]) {
      const tree = fresh();
      writeFileSync(join(tree, "large"), "");
      truncateSync(join(tree, "large"), size);
      const headers = join(directory, "headers");
      const command = `tar ${OPTIONS.join(" ")} -cf - . | head -c 1024 > ${headers}`;
      spawnSync("sh", ["-c", command], { cwd: tree });
      const expected = Buffer.alloc(1024);
      const fd = openSync(headers, "r");
      readSync(fd, expected, 0, 1024, 0);
      closeSync(fd);
      const { mode, uid, gid } = lstatSync(join(tree, "large"));
      const owner = { uid, gid, uname: "", gname: "" };
      const entry = {
        type: "file",
        path: "large",
        mode: mode & 0o7777,
        owner,
        size,
        linkTarget: "",
        source: "",
      } as const;
      const header = Buffer.alloc(GNU.headerLength({ ...entry, hasPlainNames: true }, 1));
      GNU.putHeaders(header, 0, { ...entry, hasPlainNames: true }, 1);
      expect(header.equals(expected.subarray(512))).toBe(true);
      rmSync(tree, { recursive: true });
    }
  });

  it("equals GNU tar for any tree, whatever bytes its names are", { timeout: 300_000 }, async () => {
    const name = fc.oneof(
      fc
        .constantFrom("a", "a.b", "a-b", "ab", "B", "ä", "\u{1F600}", "\uE000", "n".repeat(120))
        .map((text) => Buffer.from(text)),
      fc
        .uint8Array({ minLength: 1, maxLength: 120 })
        .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x80 : byte))))
        .filter((bytes) => !bytes.equals(Buffer.from(".")) && !bytes.equals(Buffer.from(".."))),
    );
    const object = fc.record({
      parent: fc.nat(5),
      name,
      kind: fc.constantFrom("file", "directory", "symlink"),
      contents: fc.uint8Array({ maxLength: 1100 }),
      uid: fc.constantFrom(0, 1000, 2 ** 31),
      mode: fc.nat(0o7777),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(object, { maxLength: 25 }), async (objects) => {
        const tree = fresh();
        const directories = [Buffer.from(tree)];
        const seen = new Set<string>();
        for (const { parent, name, kind, contents, uid, mode } of objects) {
          const at = Buffer.concat([directories[parent % directories.length] as Buffer, Buffer.from("/"), name]);
          if (seen.has(at.toString("latin1")) || at.length > 3000) continue;
          seen.add(at.toString("latin1"));
          const target = Buffer.from(contents.map((byte) => byte || 1));
          if (kind === "directory") mkdirSync(at);
          else if (kind === "file") writeFileSync(at, contents);
          else symlinkSync(target.length === 0 ? "x" : target, at);
          if (kind === "directory") directories.push(at);
          lchownSync(at, uid, uid);
          if (kind !== "symlink") chmodSync(at, mode);
        }
        expect((await byProfile(tree)).equals(byTar(tree))).toBe(true);
        rmSync(tree, { recursive: true, force: true });
      }),
      { numRuns: 60, seed: 3 },
    );
  });

  it("is that of the customisation layer with the tar profile dockertools, whoever owns the image's files", async () => {
    const store = makeTreeStore({ [A]: { "bin/": "", "bin/a": ["#!", 0o555] }, [B]: { "lib/": "", "lib/b": "2" } });
    const spec = {
      ...{ closure: store.closure, tarProfile: "dockertools", uid: 7, gid: 8, uname: "u", gname: "g", mtime: "now" },
      contents: [A],
      ...{ copyToRoot: [B], keepContentsDirlinks: true },
      files: [
        { target: "/etc/motd", text: "hello\n" },
        { target: `/${"n".repeat(99)}/${"ä".repeat(60)}`, text: "" },
        { target: "/home/app", directory: true, uid: 2 ** 31, gid: 5, mode: "0700" },
        { target: "/tmp", directory: true, mode: "1777" },
      ],
    };
    const layer = async (more: object) => {
      const plan = await planImage(checkSpec(toJson({ ...spec, ...more }), "the spec"));
      return await bytesOf(await openLayers(plan, { threads: 0 }).open(plan.layers.length - 1));
    };
    const bare = { contents: undefined, copyToRoot: undefined, files: undefined, keepContentsDirlinks: undefined };
    try {
      for (const [more, uid] of [
        [{}, 0],
        [{ oneLayer: true }, 7],
      ] as const) {
        const archive = await layer(more);
        const tree = unpacked(archive);
        expect(archive.equals(byTar(tree))).toBe(true);
        expect(lstatSync(join(tree, "bin")).uid).toBe(uid);
      }
      const storePaths = await layer({ ...bare, oneLayer: true });
      expect(storePaths.equals(byTar(unpacked(storePaths)))).toBe(true);
      const nothing = await layer({ ...bare, includeStorePaths: false });
      mkdirSync(join(directory, "empty"), { mode: 0o755 });
      expect(nothing.equals(byTar(join(directory, "empty")))).toBe(true);
    } finally {
      store.remove();
    }
  });

  function unpacked(archive: Buffer): string {
    const tree = fresh();
    execFileSync("tar", ["-xp", "--numeric-owner", "-f", "-"], { cwd: tree, input: archive });
    return tree;
  }
});
