import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EntryType } from "../../src/tar/entry-list.js";
import { checkExt4, ext4Of, leastBytes, linesOf, mountedFiles, type TreeFile, treeFile } from "../support/ext4.js";
import { requireTools } from "../support/tools.js";

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

interface Step extends Omit<TreeFile, "path"> {
  readonly name: string;
  /** Of the directories so far, the one it goes into. */
  readonly into: number;
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
});

/** A tree, each file after its directory; what cannot be at its place is left out. */
function treeOf(steps: readonly Step[]): readonly TreeFile[] {
  const directories = [""];
  const paths = new Set([""]);
  const files: TreeFile[] = [];
  for (const { name, into, type, contents, target, device, ...attributes } of steps) {
    const parent = directories[into % directories.length] as string;
    const path = parent === "" ? name : `${parent}/${name}`;
    if (paths.has(path) || (path === "lost+found" && type !== "directory")) continue;
    paths.add(path);
    if (type === "directory") directories.push(path);
    files.push(
      treeFile(path, type, {
        ...attributes,
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
