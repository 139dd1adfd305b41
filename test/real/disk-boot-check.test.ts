import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DiskTools } from "../../src/disk/tools.js";
import { type BootCheck, checkBoot } from "../../src/disk/vm/boot-check.js";
import { runOk } from "../support/command.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 120_000;
const SYSTEMD_BOOT = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/** A disk whose boot sector shows a text and halts. */
function bootSector(text: string): Buffer {
  const disk = Buffer.alloc(1024 * 1024);
  const program = "31c08ed8be167cac84c07406b40ecd10ebf5fbf4ebfc";
  disk.write(program, "hex");
  disk.write(`${text}\r\n\0`, program.length / 2);
  disk.write("55aa", 510, "hex");
  return disk;
}

describe.skipIf(requireTools("qemu-system-x86_64", "qemu-img", "mkfs.vfat", "mmd", "mcopy"))(
  "booting an image",
  { timeout: LIMIT_MS },
  () => {
    let directory: string;
    let tools: DiskTools;
    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), "disk-boot-"));
      tools = new DiskTools();
    });
    afterAll(() => {
      tools.close();
      rmSync(directory, { recursive: true, force: true });
    });

    const boot = (file: string, check: Partial<BootCheck>) =>
      checkBoot(
        file,
        { firmware: "bios", line: "hello", deadlineMs: 60_000, memoryMiB: 128, accelerators: ["tcg"], ...check },
        tools,
      );
    const sector = () => {
      const file = join(directory, "disk.img");
      writeFileSync(file, bootSector("hello from the disk"));
      return file;
    };

    it("finds a line that a BIOS machine shows, on any bus and in other formats, and leaves the image alone", async () => {
      const file = sector();
      const before = readFileSync(file);
      const matches = (line: string) => /hello from the disk$/.test(line);
      for (const bus of ["virtio", "ahci", "nvme"] as const) {
        const result = await boot(file, { bus, line: matches });
        expect(result, result.log).toMatchObject({ booted: true, end: "line", accelerator: "tcg" });
        expect(result.seconds).toBeGreaterThan(0);
      }
      expect(readFileSync(file)).toEqual(before);
      const other = join(directory, "disk.qcow2");
      await runOk(tool("qemu-img"), ["convert", "-O", "qcow2", file, other]);
      expect(await boot(other, { format: "qcow2" })).toMatchObject({ booted: true });
    });

    it("tells of one that shows another line, or does not boot", async () => {
      const empty = join(directory, "empty.img");
      writeFileSync(empty, Buffer.alloc(1024 * 1024));
      const [other, none] = await Promise.all([
        boot(sector(), { line: "goodbye", deadlineMs: 6_000 }),
        boot(empty, { deadlineMs: 6_000 }),
      ]);
      expect(other).toMatchObject({ booted: false, end: "hang", log: expect.stringContaining("hello from the disk") });
      expect(none).toMatchObject({ booted: false, log: expect.stringMatching(/not a bootable disk/) });
    });

    it("names a file or firmware that is not there", async () => {
      await expect(boot(join(directory, "none.img"), {})).rejects.toMatchObject({ code: "not-found" });
      const uefi = { code: join(directory, "code.fd"), variables: join(directory, "vars.fd") };
      await expect(boot(sector(), { firmware: "uefi", uefi })).rejects.toMatchObject({
        code: "not-found",
        message: expect.stringContaining("code.fd"),
        hint: expect.stringMatching(/Debian package ovmf.*nixpkgs/),
      });
    });

    it.skipIf(!existsSync(SYSTEMD_BOOT))("finds a line that a UEFI machine shows", async () => {
      const file = join(directory, "esp.img");
      await runOk(tool("mkfs.vfat"), ["-C", "-F", "32", "-s", "1", file, "40000"]);
      const environment = { env: { MTOOLS_SKIP_CHECK: "1", MTOOLSRC: "/dev/null", PATH: process.env.PATH } };
      for (const name of ["EFI", "EFI/BOOT"]) await runOk(tool("mmd"), ["-i", file, `::${name}`], environment);
      await runOk(tool("mcopy"), ["-i", file, SYSTEMD_BOOT, "::EFI/BOOT/BOOTX64.EFI"], environment);
      const result = await boot(file, { firmware: "uefi", line: "BdsDxe: starting Boot" });
      expect(result, result.log).toMatchObject({ booted: true });
    });
  },
);
