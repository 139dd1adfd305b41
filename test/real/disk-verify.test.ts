import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { makeFat } from "../../src/disk/fat.js";
import { convertImage, DISK_FORMATS } from "../../src/disk/format/convert.js";
import { partitionRegion, planLayout, rootRegion, TABLE_NAMES } from "../../src/disk/layout.js";
import { writeTable } from "../../src/disk/table.js";
import { verifyDisk } from "../../src/disk/verify.js";
import { runOk } from "../support/command.js";
import { cleanUpDisks, directory, diskTools, emptyDisk } from "../support/disks.js";
import { requireTools, tool } from "../support/tools.js";

const MIB = 1024 * 1024;
const layoutOf = (table: (typeof TABLE_NAMES)[number]) => planLayout({ table, rootBytes: 6 * MIB, bootEnd: 105 * MIB });

/** A disk with all that its layout has, by tools that are not ours where there are any. */
async function makeDisk(table: (typeof TABLE_NAMES)[number]): Promise<string> {
  const layout = layoutOf(table);
  // Its name has a meaning to e2fsck.
  const file = emptyDisk(layout.size, join(directory(), "disk?offset=1 image"));
  const tools = diskTools();
  await writeTable(file, layout, tools);
  const root = rootRegion(file, layout);
  await tools.run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", `offset=${root.offset}`, file, `${root.size / 1024}K`]);
  for (const partition of layout.partitions) {
    if (!["esp", "boot", "xbootldr"].includes(partition.role)) continue;
    const files = [{ path: "EFI/BOOT/BOOTX64.EFI", contents: Buffer.alloc(5000, "boot") }];
    await makeFat(partitionRegion(file, partition), files, { label: "ESP", id: "12345678" }, tools);
  }
  return file;
}

function write(file: string, at: number, bytes: Uint8Array | string): void {
  const fd = openSync(file, "r+");
  writeSync(fd, Buffer.from(bytes as string), 0, undefined, at);
  closeSync(fd);
}

const codes = async (file: string) =>
  (await verifyDisk(file, diskTools())).findings.map(({ severity, code, where }) => `${severity} ${code} ${where}`);

cleanUpDisks();

describe.skipIf(requireTools("sfdisk", "mke2fs", "e2fsck", "mkfs.vfat", "fsck.vfat", "mcopy", "qemu-img"))(
  "a verified disk",
  () => {
    it.each(TABLE_NAMES.map((table) => ({ table })))("$table is valid, with all that is in it", async ({ table }) => {
      const layout = layoutOf(table);
      const found = await verifyDisk(await makeDisk(table), diskTools());
      expect(found).toMatchObject({ valid: true, format: "raw", size: layout.size, findings: [] });
      expect([found.label, found.diskId]).toEqual([layout.label, layout.diskId]);
      expect(found.fileSystem).toBe(table === "none" ? "ext4" : undefined);
      const fileSystems = { root: "ext4", esp: "fat", boot: "fat", xbootldr: "fat", "bios-grub": undefined };
      expect(found.partitions).toHaveLength(layout.partitions.length);
      for (const [index, { number, role, start, size }] of layout.partitions.entries()) {
        expect(found.partitions[index]).toMatchObject({ number, start, size });
        expect(found.partitions[index]?.fileSystem).toBe(fileSystems[role]);
        const { type, uuid, name } = layout.partitions[index] as (typeof layout.partitions)[number];
        if (found.label === "gpt") expect(found.partitions[index]).toMatchObject({ type, uuid, name });
      }
    });

    it.each(DISK_FORMATS.map((format) => ({ format })))("is looked into as $format, too", async ({ format }) => {
      const raw = await makeDisk("legacy+boot");
      const image = join(directory(), "image");
      await convertImage(raw, image, format, diskTools());
      const plain = format === "qcow2-compressed" ? "qcow2" : format;
      expect(await verifyDisk(image, diskTools())).toEqual({ ...(await verifyDisk(raw, diskTools())), format: plain });
    });

    it("has an error for each thing that is damaged, and its file stays as it is", async () => {
      const file = await makeDisk("hybrid");
      // An inode table of the ext4, the second FAT of the ESP, and a byte of the first GPT's entries.
      write(file, 105 * MIB + 1024 + 0x18 + 4, Buffer.alloc(16, 0xff));
      const boot = readFileSync(file).subarray(8 * MIB, 8 * MIB + 512);
      write(file, 8 * MIB + (boot.readUInt16LE(14) + boot.readUInt32LE(36)) * 512 + 12, Buffer.alloc(8, 3));
      write(file, 1024 + 56, "X");
      const before = readFileSync(file);
      const found = await verifyDisk(file, diskTools());
      expect(found.valid).toBe(false);
      const wanted = ["error gpt table", "error file-system partition 1", "error file-system partition 3"];
      expect((await codes(file)).sort()).toEqual(wanted.sort());
      expect(JSON.stringify(found.findings)).not.toContain("/tmp");
      expect(readFileSync(file).equals(before)).toBe(true);
    });

    it.each([
      ["a byte of the first header", (file) => write(file, 512 + 18, "X"), ["error gpt table"]],
      ["the first header", (file) => write(file, 512, Buffer.alloc(512)), ["error gpt table"]],
      ["where the first header says it is", (file) => write(file, 512 + 24, "X"), ["error gpt table"]],
      ["a byte of the first entries", (file) => write(file, 1024 + 56, "X"), ["error gpt table"]],
      ["the last header", (file, size) => write(file, size - 500, "X"), ["error gpt table"]],
      ["a byte of the last entries", (file, size) => write(file, size - 33 * 512 + 56, "X"), ["error gpt table"]],
      ["the MBR", (file) => write(file, 0, Buffer.alloc(512)), ["error gpt table"]],
      ["the type in the MBR", (file) => write(file, 450, Buffer.alloc(1)), ["error gpt table"]],
      [
        "both headers",
        (file, size) => {
          write(file, 512, Buffer.alloc(512));
          write(file, size - 512, Buffer.alloc(512));
        },
        ["error gpt table", "error gpt table"],
      ],
    ] as readonly (readonly [string, (file: string, size: number) => void, readonly string[]])[])(
      "has an error for a GPT without %s",
      async (_, damage, wanted) => {
        const file = await makeDisk("hybrid");
        const { size } = statSync(file);
        const { partitions } = await verifyDisk(file, diskTools());
        damage(file, size);
        const found = await verifyDisk(file, diskTools());
        expect(found.valid).toBe(false);
        expect(found.findings.map(({ severity, code, where }) => `${severity} ${code} ${where}`)).toEqual(wanted);
        // With one copy it is still known what is where.
        expect(found).toMatchObject({ label: "gpt", partitions: wanted.length > 1 ? [] : partitions });
      },
    );

    it("has an error for a disk with a GPT that is cut off anywhere, or has become longer", async () => {
      const file = await makeDisk("hybrid");
      const { size } = statSync(file);
      truncateSync(file, size + MIB);
      expect(await codes(file)).toEqual(["error gpt table"]);
      for (const left of [size - 512, size - MIB, 110 * MIB, 50 * MIB, MIB, 34 * 512, 1024]) {
        truncateSync(file, left);
        const { valid, findings } = await verifyDisk(file, diskTools());
        expect(valid, `${left}`).toBe(false);
        const wanted = left > 33 * 512 ? "cut-off" : "gpt";
        expect(
          findings.map(({ code }) => code),
          `${left}`,
        ).toContain(wanted);
      }
      truncateSync(file, 512);
      expect(await codes(file)).toContain("error gpt table");
    });

    it("has an error for copies of a GPT that do not agree, and for what is not where it may be", async () => {
      const file = await makeDisk("efi");
      const { size } = statSync(file);
      const before = readFileSync(file);
      const restore = () => {
        write(file, 0, before.subarray(0, 34 * 512));
        write(file, size - 33 * 512, before.subarray(size - 33 * 512));
      };
      const entries = before.subarray(1024, 1024 + 128 * 128);
      const change = (header: number, at: number, value: number | string) => {
        const bytes = Buffer.from(readFileSync(file).subarray(header, header + 92));
        if (typeof value === "string") bytes.write(value, at, "latin1");
        else bytes.writeUInt32LE(value, at);
        bytes.writeUInt32LE(0, 16);
        bytes.writeUInt32LE(crc32(bytes), 16);
        write(file, header, bytes);
      };
      const says = async () => (await verifyDisk(file, diskTools())).findings.map(({ message }) => message);
      // Of the last copy the disk's GUID, of the first one the last sector for partitions.
      change(size - 512, 56, "other");
      expect(await says()).toEqual([expect.stringMatching(/two copies of the GPT do not say the same/)]);
      restore();
      change(512, 48, 100);
      change(size - 512, 48, 100);
      expect(await says()).toEqual([
        expect.stringMatching(/partition 1 .*sectors 34 to 100/),
        expect.stringMatching(/partition 2 .*sectors 34 to 100/),
      ]);
      restore();
      // The second entry ends before it begins.
      const turned = Buffer.from(entries);
      turned.writeBigUInt64LE(20_000n, 128 + 40);
      for (const [header, at] of [
        [512, 1024],
        [size - 512, size - 33 * 512],
      ] as const) {
        write(file, at, turned);
        change(header, 88, crc32(turned));
      }
      expect(await says()).toContainEqual(expect.stringMatching(/partition 2 ends before it begins/));
      restore();
      for (const [at, value] of [
        [80, 0xffffffff],
        [84, 0xffffffff],
        [84, 0],
        [12, 0xffffffff],
        [12, 1],
        [72, 0xffffffff],
      ] as const) {
        change(512, at, value);
        expect(await codes(file), `${at}`).toEqual(["error gpt table"]);
        restore();
      }
      expect(await codes(file)).toEqual([]);
    });

    it("has errors for partitions that overlap, or are not on the disk, and warnings for unaligned ones", async () => {
      const file = emptyDisk(64 * MIB);
      const script =
        "label: dos\nstart=63,size=4096,type=83\nstart=8192,size=8192,type=83\nstart=32768,size=98304,type=83\n";
      await runOk(tool("sfdisk"), ["-q", "--no-reread", "--no-tell-kernel", file], { stdin: script });
      const empty = [1, 2, 3].map((number) => `error no-file-system partition ${number}`);
      expect(await codes(file)).toEqual(["warning alignment partition 1", ...empty]);
      // The second one begins in the first, and the third is cut off.
      write(file, 446 + 16 + 8, Uint8Array.of(0, 1, 0, 0));
      truncateSync(file, 50 * MIB);
      expect(await codes(file)).toEqual([
        "warning alignment partition 1",
        "warning alignment partition 2",
        "error outside partition 3",
        "error overlap partition 2",
        ...empty.slice(0, 2),
      ]);
    });

    it("has an error for a partition whose file system is gone, and a warning for one that is not looked into", async () => {
      const file = await makeDisk("efixbootldr");
      const { partitions } = planLayout({ table: "efixbootldr", rootBytes: 6 * MIB, bootEnd: 105 * MIB });
      for (const { start } of partitions) write(file, start, Buffer.alloc(4096));
      const gone = [1, 2, 3].map((number) => `error no-file-system partition ${number}`);
      expect(await codes(file)).toEqual(gone);
      const root = partitionRegion(file, partitions[2] as (typeof partitions)[number]);
      for (const [at, magic] of [
        [0, "XFSB"],
        [0x10040, "_BHRfS_M"],
        [0, "LUKS\xba\xbe"],
        [0, "hsqs"],
        [0, "\x10\x20\xf5\xf2"],
        [4086, "SWAPSPACE2"],
        [512, "LABELONE"],
      ] as const) {
        const offset = magic === "\x10\x20\xf5\xf2" ? 1024 : at;
        write(file, root.offset + offset, Buffer.from(magic, "latin1"));
        expect(await codes(file), magic).toEqual([...gone.slice(0, 2), "warning no-file-system partition 3"]);
        write(file, root.offset + offset, Buffer.alloc(16));
      }
    });

    it("says what tools say without their control characters and rows of asterisks", async () => {
      const file = await makeDisk("none");
      write(file, 1024 + 0x18 + 4, Buffer.alloc(16, 0xff));
      write(file, 8192, Buffer.alloc(65536, 0xff));
      const { findings } = await verifyDisk(file, diskTools());
      expect(findings.map(({ code }) => code)).toContain("file-system");
      for (const { message } of findings) expect(message).not.toMatch(/\p{Cc}|\*\*| {2}/u);
    });

    it("has an error for a FAT that is too large to be checked", async () => {
      const file = emptyDisk(512 * MIB);
      await runOk(tool("mkfs.vfat"), ["-F", "32", "-s", "1", file]);
      truncateSync(file, 2 ** 40);
      // 2^31 sectors, and FATs for them.
      write(file, 32, Uint8Array.of(0, 0, 0, 0x80, 0, 0, 0, 1));
      expect((await verifyDisk(file, diskTools())).findings).toEqual([
        { severity: "error", code: "file-system", where: "disk", message: expect.stringMatching(/its \d+ clusters/) },
      ]);
    });

    it("has an error for a file system that is larger than its partition", async () => {
      const layout = layoutOf("legacy");
      const file = emptyDisk(layout.size + 4 * MIB);
      await writeTable(file, layout, diskTools());
      await runOk(tool("mke2fs"), ["-q", "-F", "-t", "ext4", "-E", `offset=${MIB}`, file, "10240K"]);
      expect(await codes(file)).toEqual(["error file-system-size partition 1"]);
    });

    it("has an error for what is no disk, or is cut off", async () => {
      const file = join(directory(), "file");
      writeFileSync(file, "");
      expect(await codes(file)).toEqual(["error empty disk"]);
      writeFileSync(file, Buffer.alloc(100_001, "text"));
      expect(await codes(file)).toEqual(["error size disk", "error empty disk"]);
      for (const format of ["qcow2", "vdi", "vpc", "vmdk", "vhdx"] as const) {
        await convertImage(await makeDisk("legacy"), file, format, diskTools());
        truncateSync(file, 4096);
        const found = await verifyDisk(file, diskTools());
        expect(found, format).toMatchObject({ valid: false, format });
      }
      await expect(verifyDisk(join(directory(), "missing"), diskTools())).rejects.toMatchObject({ code: "not-found" });
      await expect(verifyDisk(directory(), diskTools())).rejects.toMatchObject({ code: "unreadable" });
    });

    it("does not follow an image to another file", async () => {
      const where = directory();
      const secret = emptyDisk(MIB, join(where, "secret"));
      const make = (name: string, ...args: readonly string[]) =>
        runOk(tool("qemu-img"), ["create", "-q", ...args, join(where, name), "1M"]);
      await make("backed", "-f", "qcow2", "-b", secret, "-F", "raw");
      await make("split", "-f", "qcow2", "-o", `data_file=${join(where, "data")}`);
      await make(
        "parented",
        "-f",
        "vmdk",
        "-b",
        await make("parent", "-f", "vmdk").then(() => join(where, "parent")),
        "-F",
        "vmdk",
      );
      // A header that says of no sectors that they are in it, and a list of files after it.
      const head = Buffer.alloc(65536);
      head.write("KDMV");
      head.writeUInt32LE(1, 4);
      head.writeBigUInt64LE(1n, 28);
      head.writeBigUInt64LE(20n, 36);
      head.write(`# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2 FLAT "${secret}" 0\n`, 512);
      writeFileSync(join(where, "listed"), head);
      const list = `# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2 FLAT "${secret}" 0\n`;
      writeFileSync(join(where, "list"), list);
      await make("flat", "-f", "vmdk", "-o", "subformat=monolithicFlat");
      for (const name of ["backed", "split", "parented", "listed", "list", "flat"]) {
        expect((await verifyDisk(join(where, name), diskTools())).format).not.toBe("raw");
        expect(await codes(join(where, name)), name).toEqual(["error other-file image"]);
      }
    });
  },
);
