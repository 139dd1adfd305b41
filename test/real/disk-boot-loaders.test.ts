import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootEntry } from "../../src/disk/boot-loader/boot-entry.js";
import { type BootLoaderKind, bootLoaderFor } from "../../src/disk/boot-loader/boot-loader.js";
import { bootEntryOfFiles } from "../../src/disk/boot-loader/entries.js";
import { DiskTools } from "../../src/disk/tools.js";
import {
  debianKernel,
  makeBootDisk,
  makeTalkingInitramfs,
  ROOT_UUID,
  SMALL_DISKS,
  startDisk,
} from "../support/boot-disks.js";
import { requireTools } from "../support/tools.js";

const PROGRAMS = ["sfdisk", "mke2fs", "mkfs.vfat", "mmd", "mcopy", "grub-mkimage", "qemu-system-x86_64", "busybox"];

describe.skipIf(requireTools(...PROGRAMS))("boot loaders without a virtual machine", () => {
  let directory: string;
  let tools: DiskTools;
  let inRoot: BootEntry;
  let fromHere: BootEntry;
  let rootTree: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "boot-loaders-"));
    tools = new DiskTools();
    const initrd = await makeTalkingInitramfs(directory, "started");
    rootTree = join(directory, "tree");
    const nested = join(rootTree, "nix/store/it's-a-kernel");
    mkdirSync(nested, { recursive: true });
    cpSync(debianKernel(), join(nested, "bzImage"));
    cpSync(initrd, join(nested, "initrd"));
    const commandLine = 'console=ttyS0 quiet words="two words" end';
    fromHere = bootEntryOfFiles({ kernel: debianKernel(), initrd, commandLine });
    inRoot = {
      ...fromHere,
      kernel: { ...fromHere.kernel, path: "/nix/store/it's-a-kernel/bzImage" },
      initrd: { source: initrd, bootPath: "/initrd.img", path: "/nix/store/it's-a-kernel/initrd" },
    };
  });

  afterAll(() => {
    tools.close();
    rmSync(directory, { recursive: true, force: true });
  });

  type Case = [keyof typeof SMALL_DISKS, BootLoaderKind, "in the root file system" | "copied", ...("bios" | "uefi")[]];
  const cases: readonly Case[] = [
    ["legacy", "grub", "in the root file system", "bios"],
    ["legacy", "grub", "copied", "bios"],
    ["legacy+gpt", "grub", "in the root file system", "bios"],
    ["legacy+boot", "grub", "copied", "bios"],
    ["efi", "grub", "in the root file system", "uefi"],
    ["efi", "systemd-boot", "copied", "uefi"],
    ["efi", "uki", "copied", "uefi"],
    ["efixbootldr", "grub", "copied", "uefi"],
    ["efixbootldr", "systemd-boot", "copied", "uefi"],
    ["efixbootldr", "uki", "copied", "uefi"],
    ["hybrid", "grub", "in the root file system", "bios", "uefi"],
    ["hybrid", "systemd-boot", "in the root file system", "bios", "uefi"],
    ["hybrid", "uki", "in the root file system", "bios", "uefi"],
  ];

  it.each(cases)(
    "starts %s by %s with the kernel %s",
    { timeout: 240_000 },
    async (table, kind, where, ...firmwares) => {
      const isCopied = where === "copied";
      const entry = isCopied ? fromHere : inRoot;
      const options = { kind, entry, rootUuid: ROOT_UUID, timeoutSeconds: 0 };
      const parts = await bootLoaderFor(SMALL_DISKS[table], options, tools);
      const file = join(directory, `${table}-${kind}-${isCopied}.img`);
      await makeBootDisk(file, SMALL_DISKS[table], parts, isCopied ? undefined : rootTree);
      for (const firmware of firmwares) {
        const said = await startDisk(file, firmware);
        if (!/started: .*words/.test(said)) console.log(said);
        expect(said).toMatch(/started: .*console=ttyS0 quiet "?words="?two words" end/);
      }
      rmSync(file);
    },
  );
});
