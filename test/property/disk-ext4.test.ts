import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EntryType, Xattrs } from "../../src/tar/entry-list.js";
import { checkExt4, ext4Of, leastBytes, linesOf, mountedFiles, type TreeFile, treeFile } from "../support/ext4.js";
import { requireTools } from "../support/tools.js";
import { acl, CAPABILITY } from "../support/xattrs.js";

const byte = fc.integer({ min: 1, max: 255 }).filter((code) => code !== 0x2f);
const text = (maxLength: number) =>
  fc.array(byte, { minLength: 1, maxLength }).map((codes) => String.fromCharCode(...codes));
const name = fc
  .oneof({ arbitrary: text(12), weight: 4 }, text(255), fc.constantFrom("lost+found", " ", "-", "..."))
  .filter((each) => each !== "." && each !== "..");

const contents = fc
  .record({
    /** Which blocks are zeros. */
    pattern: fc.array(fc.boolean(), { maxLength: 40 }),
    tail: fc.integer({ min: 0, max: 4095 }),
    fill: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ pattern, tail, fill }) =>
    Buffer.concat([...pattern.map((isZero) => Buffer.alloc(4096, isZero ? 0 : fill)), Buffer.alloc(tail, fill)]),
  );

const id = fc.oneof(fc.constantFrom(0, 1000, 65_535, 65_536), fc.integer({ min: 0, max: 0xffff_fffe }));

const permissions = fc.nat(7);
const users = fc.dictionary(fc.integer({ min: 1, max: 2 ** 32 - 2 }).map(String), permissions, {
  minKeys: 1,
  maxKeys: 6,
});
const defaultAcl = fc
  .tuple(permissions, users, permissions, permissions)
  .map(([owner, users, group, other]) => acl(owner, users, group, other));
const value = fc
  .tuple(fc.oneof(fc.nat(30), fc.nat(300), fc.constantFrom(68, 3000, 4000)), byte)
  .map(([length, code]) => `${String.fromCharCode(code)}\0`.repeat(length).slice(0, length));
const xattr: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  {
    arbitrary: fc.tuple(
      fc.tuple(fc.constantFrom("user.", "trusted.", "security."), text(246)).map((parts) => parts.join("")),
      value,
    ),
    weight: 5,
  },
  fc.tuple(fc.constant("system.posix_acl_default"), defaultAcl),
  fc.constant(["security.capability", CAPABILITY] as const),
);
const xattrs = fc.oneof(
  { arbitrary: fc.constant([]), weight: 2 },
  { arbitrary: fc.array(xattr, { maxLength: 4 }), weight: 2 },
  fc.array(xattr, { maxLength: 60 }),
);

/** Of these attributes, those that such a file can have, and that a block has room for. */
function xattrsFor({ type, mode, xattrs, access }: Step): Xattrs | undefined {
  const found = new Map<string, string>();
  let room = 4096 - 32 - 4;
  const take = (key: string, data: string) => {
    const rest = key.startsWith("system.") ? 0 : key.length - key.indexOf(".") - 1;
    const size = 16 + ((rest + 3) & ~3) + ((data.length + 3) & ~3);
    if (found.has(key) || size > room) return;
    room -= size;
    found.set(key, data);
  };
  if (type !== "symlink" && access !== null) {
    take("system.posix_acl_access", acl((mode >> 6) & 7, access, 5, mode & 7, (mode >> 3) & 7));
  }
  for (const [key, data] of xattrs) {
    if (key.startsWith("user.") && type !== "file" && type !== "directory") continue;
    if (key.startsWith("system.") && type !== "directory") continue;
    take(key, data);
  }
  return found.size === 0 ? undefined : found;
}

interface Step extends Omit<TreeFile, "path" | "xattrs"> {
  readonly name: string;
  /** Of the directories so far, the one it goes into. */
  readonly into: number;
  readonly xattrs: readonly (readonly [string, string])[];
  /** Users that an ACL speaks of; null for no ACL. */
  readonly access: Readonly<Record<number, number>> | null;
}

const step: fc.Arbitrary<Step> = fc.record({
  name,
  into: fc.nat(),
  type: fc.constantFrom<EntryType>(
    "directory",
    "directory",
    "file",
    "file",
    "file",
    "symlink",
    "character",
    "block",
    "fifo",
  ),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: id,
  gid: id,
  contents,
  target: fc.oneof(text(80), text(4095)),
  device: fc.record({ major: fc.integer({ min: 0, max: 4095 }), minor: fc.integer({ min: 0, max: 0xfffff }) }),
  xattrs,
  access: fc.option(users, { freq: 1 }),
});

/** A tree, each file after its directory; what cannot be at its place is left out. */
function treeOf(steps: readonly Step[]): readonly TreeFile[] {
  const directories = [""];
  const paths = new Set([""]);
  const files: TreeFile[] = [];
  for (const step of steps) {
    const { name, into, type, contents, target, device, mode, uid, gid } = step;
    const parent = directories[into % directories.length] as string;
    const path = parent === "" ? name : `${parent}/${name}`;
    if (paths.has(path) || (path === "lost+found" && type !== "directory")) continue;
    paths.add(path);
    if (type === "directory") directories.push(path);
    files.push(
      treeFile(path, type, {
        mode,
        uid,
        gid,
        xattrs: xattrsFor(step),
        ...(type === "file" ? { contents } : {}),
        ...(type === "symlink" ? { target } : {}),
        ...(type === "character" || type === "block" ? { device } : {}),
      }),
    );
  }
  return files;
}

describe.skipIf(requireTools("mke2fs", "e2fsck", "mount", "root"))("an ext4 file system", () => {
  it("holds whatever tree it was made of, in the least space for it", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const directory = mkdtempSync(join(tmpdir(), "oci-nix-ext4-"));
        try {
          const files = treeOf(steps);
          const region = await ext4Of(join(directory, "disk"), files, await leastBytes(files), { minimise: true });
          await checkExt4(region);
          expect(await mountedFiles(region)).toEqual(linesOf(files));
        } finally {
          rmSync(directory, { recursive: true, force: true });
        }
      }),
      { numRuns: 25 },
    );
  });
});
