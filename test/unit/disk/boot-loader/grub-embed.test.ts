import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { embedGrub, linkGrub } from "../../../../src/disk/boot-loader/grub-embed.js";

/** A boot.img, and a core image of three sectors, as far as their fields go. */
function images(): { boot: Buffer; core: Buffer } {
  const boot = Buffer.alloc(512, 0x11);
  boot.writeUInt16LE(0xaa55, 510);
  const core = Buffer.alloc(1300, 0x22);
  core.fill(0, 488, 512);
  core.writeUInt16LE(2, 508);
  core.writeUInt16LE(0x820, 510);
  return { boot, core };
}

describe("GRUB's code for BIOS", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "embed-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("leaves the partition table and all that is not its place alone", () => {
    const { boot, core } = images();
    const file = join(directory, "disk");
    writeFileSync(file, Buffer.alloc(8192, 0x33));
    embedGrub(file, linkGrub(boot, core, { name: "gap", start: 2048, size: 1536 }));
    const disk = readFileSync(file);
    expect(disk.subarray(440, 2048)).toEqual(Buffer.alloc(2048 - 440, 0x33));
    expect(disk.subarray(2048 + 1536)).toEqual(Buffer.alloc(8192 - 2048 - 1536, 0x33));
    expect(disk.length).toBe(8192);
  });

  it("says in each part in which sector the next one is", () => {
    const { boot, core } = images();
    const linked = linkGrub(boot, core, { name: "gap", start: 4 * 512, size: 1536 });
    expect(linked.code.length).toBe(440);
    expect(linked.code.readBigUInt64LE(0x5c)).toBe(4n);
    expect(linked.code.readUInt16LE(0x66)).toBe(0x9090);
    expect(linked.core.readBigUInt64LE(500)).toBe(5n);
    expect(linked.core.subarray(512, 1300)).toEqual(core.subarray(512));
    expect(linked.core.subarray(1300)).toEqual(Buffer.alloc(1536 - 1300));
  });

  it("is refused where it has no room, with how much it takes and there is", () => {
    const { boot, core } = images();
    expect(() => linkGrub(boot, core, { name: "partition 1", start: 512, size: 1024 })).toThrow(
      "GRUB has 1536 bytes, but partition 1 has room for 1024",
    );
  });

  it("is refused where it is something else", () => {
    const { boot, core } = images();
    const place = { name: "gap", start: 512, size: 4096 };
    expect(() => linkGrub(boot.subarray(1), core, place)).toThrow("boot.img is not of GRUB 2");
    expect(() => linkGrub(boot, Buffer.concat([core, Buffer.alloc(512)]), place)).toThrow(
      "core image is not of GRUB 2",
    );
    expect(() => linkGrub(boot, Buffer.alloc(0), place)).toThrow("core image is not of GRUB 2");
  });
});
