import { closeSync, copyFileSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OciNixError } from "../../src/core/errors.js";
import { makeFat } from "../../src/disk/fat.js";
import { convertImage } from "../../src/disk/format/convert.js";
import { partitionRegion, planLayout, rootRegion, type TableName } from "../../src/disk/layout.js";
import { writeTable } from "../../src/disk/table.js";
import { DiskTools } from "../../src/disk/tools.js";
import { verifyDisk } from "../../src/disk/verify.js";
import { cleanUpDisks, directory, diskTools } from "../support/disks.js";
import { requireTools } from "../support/tools.js";

const MIB = 2 ** 20;
const LIMIT_MS = 300_000;
/** Of each kind of image. */
const RUNS = 5;

async function makeRaw(table: TableName, file: string, tools: DiskTools): Promise<string> {
  const layout = planLayout({ table, rootBytes: 4 * MIB, bootEnd: 12 * MIB });
  writeFileSync(file, "");
  truncateSync(file, layout.size);
  await writeTable(file, layout, tools);
  const root = rootRegion(file, layout);
  await tools.run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", `offset=${root.offset}`, file, `${root.size / 1024}K`]);
  for (const partition of layout.partitions.filter(({ role }) => role === "esp" || role === "boot")) {
    const files = [{ path: "EFI/BOOT/BOOTX64.EFI", contents: Buffer.alloc(5000, "boot") }];
    await makeFat(partitionRegion(file, partition), files, { label: "ESP", id: "12345678" }, tools);
  }
  return file;
}

/** Where an image says what it is made of: [from, to), from its end where negative. */
type Place = readonly [number, number];
const HEADS: readonly Place[] = [
  [0, 512],
  [512, 2048],
  [0, 256 * 1024],
  [-33 * 512, 0],
  [-512, 0],
];
const ROOT_OF: Readonly<Record<string, number>> = { none: 0, "legacy+boot": 12 * MIB, efi: 12 * MIB };

interface Damage {
  readonly place: number;
  /** Where in it, from 0 to 1. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

const part = fc.integer({ min: 0, max: 1_000_000 }).map((value) => value / 1_000_000);

const damage: fc.Arbitrary<Damage> = fc.record({
  place: fc.nat(),
  at: part,
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 8 }),
    fc.constantFrom(
      Buffer.alloc(4, 0xff),
      Buffer.alloc(8, 0xff),
      Buffer.alloc(8),
      Buffer.from("7fffffffffffffff", "hex"),
      Buffer.from("ffffffffffffff7f", "hex"),
      Buffer.from("0000000080000000", "hex"),
      Buffer.alloc(512, 0xff),
    ),
  ),
});

function inflict({ place, at, bytes }: Damage, file: string, places: readonly Place[]): void {
  const { size } = statSync(file);
  const [from, to] = places[place % places.length] as Place;
  const start = from < 0 ? size + from : from;
  const end = to <= 0 ? size + to : to;
  const offset = Math.max(0, Math.min(size - 1, Math.floor(start + at * (end - start - 1))));
  const fd = openSync(file, "r+");
  writeSync(fd, bytes, 0, Math.min(bytes.length, size - offset), offset);
  closeSync(fd);
}

/** It is found valid or not, or there is an error that says what keeps it from being read. */
async function look(file: string): Promise<void> {
  const tools = new DiskTools();
  try {
    const { valid, findings } = await verifyDisk(file, tools);
    expect(valid).toBe(findings.every(({ severity }) => severity !== "error"));
    expect(JSON.stringify(findings)).not.toContain(tools.directory);
  } catch (error) {
    expect(error).toBeInstanceOf(OciNixError);
  } finally {
    tools.close();
  }
}

cleanUpDisks();

describe.skipIf(requireTools("sfdisk", "mke2fs", "e2fsck", "mkfs.vfat", "fsck.vfat", "mcopy", "qemu-img"))(
  "an image that somebody damaged",
  () => {
    it.each([
      ["none", "raw"],
      ["legacy+boot", "raw"],
      ["efi", "raw"],
      ["none", "qcow2"],
      ["none", "qcow2-compressed"],
      ["none", "vdi"],
      ["none", "vpc"],
      ["none", "vmdk"],
      ["none", "vhdx"],
    ] as const)("is looked at to an end: %s, %s", { timeout: LIMIT_MS }, async (table, format) => {
      const where = directory();
      const tools = diskTools();
      const image = join(where, "image");
      await convertImage(await makeRaw(table, join(where, "raw"), tools), image, format, tools);
      const root = ROOT_OF[table] as number;
      const places: Place[] = [
        ...HEADS,
        ...(format === "raw" ? [[root + 1024, root + 2048] as const, [root, root + MIB] as const] : []),
      ];
      if (table !== "none") places.push([8 * MIB, 8 * MIB + 512], [MIB, MIB + 512]);
      const copy = join(where, "copy");
      await fc.assert(
        fc.asyncProperty(
          fc.array(damage, { minLength: 1, maxLength: 6 }),
          fc.oneof({ arbitrary: fc.constant(1), weight: 5 }, part),
          async (damages, left) => {
            copyFileSync(image, copy);
            for (const each of damages) inflict(each, copy, places);
            truncateSync(copy, Math.floor(statSync(copy).size * left));
            await look(copy);
          },
        ),
        { numRuns: RUNS, endOnFailure: true },
      );
      rmSync(copy);
    });

    it("may be of any bytes", { timeout: LIMIT_MS }, async () => {
      const magic = fc.constantFrom(
        "",
        "QFI\xfb\0\0\0\x03",
        "KDMV",
        "conectix",
        "vhdxfile",
        `${"\0".repeat(64)}\x7f\x10\xda\xbe`,
      );
      const file = join(directory(), "file");
      await fc.assert(
        fc.asyncProperty(magic, fc.uint8Array({ maxLength: 4096, size: "max" }), async (begin, bytes) => {
          writeFileSync(file, Buffer.concat([Buffer.from(begin, "latin1"), bytes]));
          await look(file);
        }),
        { numRuns: 4 * RUNS, endOnFailure: true },
      );
    });

    it("has bounded memory and time to be looked at in", { timeout: LIMIT_MS }, async () => {
      const where = directory();
      const file = join(where, "image");
      const tools = diskTools();
      // 256 TiB of holes.
      await convertImage(await makeRaw("none", join(where, "raw"), tools), file, "vmdk", tools);
      const fd = openSync(file, "r+");
      writeSync(fd, Buffer.from([0, 0, 0, 0, 0x80, 0]), 0, 6, 12);
      closeSync(fd);
      expect((await verifyDisk(file, tools)).findings.map(({ message }) => message)).toEqual([
        expect.stringMatching(/a disk of \d{15} bytes, which is not looked at/),
      ]);
    });
  },
);
