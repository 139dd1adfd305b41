import { chmodSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { makeFat } from "../../src/disk/fat.js";
import type { FatFile } from "../../src/disk/fat-tree.js";
import { runOk } from "../support/command.js";
import { cleanUpDisks, directory, diskTools, emptyDisk } from "../support/disks.js";
import { requireTools, tool } from "../support/tools.js";

const MIB = 1024 * 1024;
const ID = { label: "ESP", id: "1234abcd" };
const bytes = (text: string) => Buffer.from(text);

function sampleFiles(mode = 0o644): readonly FatFile[] {
  const source = join(directory(), "-a kernel");
  writeFileSync(source, Buffer.alloc(300_000, "kernel"));
  chmodSync(source, mode);
  utimesSync(source, mode, mode);
  return [
    { path: "/loader/loader.conf", contents: bytes("timeout 3\n") },
    { path: "EFI/BOOT/BOOTX64.EFI", source },
    { path: "EFI/nixos/abcdefghijklmnopqrstuvwxyz012345-linux-6.6.1-bzImage.efi", source },
    { path: "EFI/nixos/abcdefghijklmnopqrstuvwxyz012345-initrd-linux-6.6.1-initrd.efi", contents: bytes("initrd") },
    { path: "loader/entries/nixos-generation-1.conf", contents: bytes("title NixOS\n") },
    { path: "empty", contents: bytes("") },
  ];
}

/** A partition of a disk that has something before and behind it. */
async function makeEsp(
  files: readonly FatFile[],
  size: number,
): Promise<{ readonly disk: string; readonly esp: string }> {
  const disk = emptyDisk(size + 2 * MIB);
  await makeFat({ file: disk, offset: MIB, size }, files, ID, diskTools());
  const esp = join(directory(), "esp.img");
  writeFileSync(esp, readFileSync(disk).subarray(MIB, MIB + size));
  return { disk, esp };
}

async function listing(esp: string): Promise<readonly string[]> {
  const words = await runOk(tool("mdir"), ["-/", "-b", "-i", esp, "::/"], { env: { MTOOLS_SKIP_CHECK: "1" } });
  return words
    .trim()
    .split("\n")
    .filter((path) => !path.endsWith("/"))
    .sort();
}

cleanUpDisks();

describe.skipIf(requireTools("mkfs.vfat", "fsck.vfat", "mcopy", "mmd", "mdir"))("a FAT file system", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  // With clusters of 1, 2, 1, 4 and 8 sectors.
  it.each([4, 32, 34, 248, 300])("of %d MiB is in order and has its files", async (mib) => {
    const files = sampleFiles();
    const { disk, esp } = await makeEsp(files, mib * MIB);
    expect(await runOk(tool("fsck.vfat"), ["-n", "-v", esp])).toContain(`${mib < 33 ? 16 : 32} bit entries`);
    expect(await listing(esp)).toEqual(files.map(({ path }) => `::/${path.replace(/^\//, "")}`).sort());
    for (const [index, file] of files.entries()) {
      const out = join(directory(), `out${index}`);
      await runOk(tool("mcopy"), ["-i", esp, `::/${file.path}`, out], { env: { MTOOLS_SKIP_CHECK: "1" } });
      const wanted = "source" in file ? readFileSync(file.source) : file.contents;
      expect(readFileSync(out).equals(Buffer.from(wanted))).toBe(true);
    }
    expect(
      readFileSync(disk)
        .subarray(MIB + mib * MIB)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(
      readFileSync(disk)
        .subarray(0, MIB)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(statSync(disk).blocks * 512).toBeLessThan(5 * MIB);
  });

  it("is the same bytes from files in another order and place, with other dates and rights and a hostile environment", async () => {
    const first = await makeEsp(sampleFiles(), 40 * MIB);
    vi.stubEnv("TZ", "Pacific/Kiritimati");
    vi.stubEnv("LANG", "de_DE.UTF-8");
    const home = directory();
    writeFileSync(join(home, ".mtoolsrc"), "MTOOLS_LOWER_CASE=1\nMTOOLS_NO_VFAT=1\n");
    vi.stubEnv("HOME", home);
    vi.stubEnv("MTOOLS_NO_VFAT", "1");
    vi.stubEnv("SOURCE_DATE_EPOCH", "1700000000");
    const before = process.umask(0o077);
    try {
      const second = await makeEsp(sampleFiles(0o400).toReversed(), 40 * MIB);
      expect(readFileSync(second.esp).equals(readFileSync(first.esp))).toBe(true);
    } finally {
      process.umask(before);
    }
  });

  it("takes files up to the last cluster, and says what is missing for more", async () => {
    // A FAT16 of 4 MiB in clusters of 512 bytes: 8192 sectors less boot sector, FATs and root directory.
    const room = async (size: number) => {
      const disk = emptyDisk(4 * MIB);
      await makeFat(
        { file: disk, offset: 0, size: 4 * MIB },
        [{ path: "a", contents: Buffer.alloc(size) }],
        ID,
        diskTools(),
      );
      return disk;
    };
    const message = await room(5 * MIB).then(
      () => "",
      (error: Error) => error.message,
    );
    const [, missing, needed, has] = (
      /by (\d+) bytes: its files need (\d+), and it has (\d+)$/.exec(message) ?? []
    ).map(Number);
    expect([needed, (needed ?? 0) - (missing ?? 0)]).toEqual([5 * MIB, has]);
    await runOk(tool("fsck.vfat"), ["-n", await room(has ?? 0)]);
    await expect(room((has ?? 0) + 1)).rejects.toThrow("is too small by 512 bytes");
  });

  it("refuses what cannot be before it writes anything", async () => {
    const disk = emptyDisk(40 * MIB);
    const make = (files: readonly FatFile[], options = ID, size = 40 * MIB) =>
      makeFat({ file: disk, offset: 0, size }, files, options, diskTools());
    const missing = join(directory(), "missing");
    await expect(make([{ path: "a", source: missing }])).rejects.toMatchObject({ code: "not-found" });
    await expect(make([{ path: "a", source: directory() }])).rejects.toThrow("is no regular file");
    const large = emptyDisk(2 ** 32);
    await expect(make([{ path: "a", source: large }])).rejects.toThrow("too large for FAT");
    await expect(make([], { ...ID, id: "1" })).rejects.toThrow("eight hexadecimal digits");
    await expect(make([], { ...ID, label: "a label" })).rejects.toThrow("FAT label");
    await expect(make([], ID, MIB)).rejects.toThrow(`too small by ${3 * MIB} bytes`);
    expect(statSync(disk).blocks).toBe(0);
  });

  it("has more files in its root directory than FAT16 can hold only with FAT32", async () => {
    const files = Array.from({ length: 300 }, (_, index) => ({ path: `a long name ${index}`, contents: bytes("") }));
    const disk = emptyDisk(40 * MIB);
    await expect(makeFat({ file: disk, offset: 0, size: 8 * MIB }, files, ID, diskTools())).rejects.toThrow(
      "no room for so many",
    );
  });
});
