import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootEntry } from "../../src/disk/boot-loader/boot-entry.js";
import { type BootLoaderKind, bootLoaderFor } from "../../src/disk/boot-loader/boot-loader.js";
import { bootEntryOf, bootEntryOfFiles } from "../../src/disk/boot-loader/entries.js";
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
const COMMAND_LINE = 'console=ttyS0 quiet words="two words" end';
const TOPLEVEL = "/nix/store/0000-nixos-system";

describe.skipIf(requireTools(...PROGRAMS))("boot loaders without a virtual machine", () => {
  let directory: string;
  let tools: DiskTools;
  let rootTree: string;
  /** Where the kernel is: in a file of this machine, behind a link of the root file system, in a NixOS system of it. */
  let entries: Readonly<Record<"copied" | "behind a link" | "of NixOS", BootEntry>>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "boot-loaders-"));
    tools = new DiskTools();
    const initrd = await makeTalkingInitramfs(join(directory, "initramfs"), "started");
    rootTree = join(directory, "tree");
    makeSystem(rootTree, initrd);
    symlinkSync(`..${TOPLEVEL}`, join(rootTree, "boot/it's a link"));
    const copied = bootEntryOfFiles({ kernel: debianKernel(), initrd, commandLine: COMMAND_LINE });
    entries = {
      copied,
      "behind a link": {
        ...copied,
        kernel: { bootPath: "/vmlinuz", path: "/boot/it's a link/kernel" },
        initrd: { bootPath: "/initrd.img", path: "/boot/it's a link/initrd" },
      },
      "of NixOS": bootEntryOf(TOPLEVEL, { storeRoot: rootTree }),
    };
  });

  afterAll(() => {
    tools?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function makeSystem(tree: string, initrd: string): void {
    const store = (path: string) => join(tree, "nix/store", path);
    for (const each of ["1111-linux", "2222-initrd", "0000-nixos-system"]) mkdirSync(store(each), { recursive: true });
    mkdirSync(join(tree, "boot"));
    cpSync(debianKernel(), store("1111-linux/bzImage"));
    cpSync(initrd, store("2222-initrd/initrd"));
    symlinkSync("/nix/store/1111-linux/bzImage", join(tree, TOPLEVEL, "kernel"));
    symlinkSync("/nix/store/2222-initrd/initrd", join(tree, TOPLEVEL, "initrd"));
    writeFileSync(join(tree, TOPLEVEL, "kernel-params"), COMMAND_LINE);
  }

  type Case = [keyof typeof SMALL_DISKS, BootLoaderKind, keyof typeof entries, ...("bios" | "uefi")[]];
  const cases: Case[] = [
    ["legacy", "grub", "behind a link", "bios"],
    ["legacy", "grub", "copied", "bios"],
    ["legacy+gpt", "grub", "of NixOS", "bios"],
    ["legacy+boot", "grub", "copied", "bios"],
    ["efi", "grub", "behind a link", "uefi"],
    ["efi", "systemd-boot", "copied", "uefi"],
    ["efi", "uki", "copied", "uefi"],
    ["efixbootldr", "grub", "copied", "uefi"],
    ["efixbootldr", "systemd-boot", "copied", "uefi"],
    ["efixbootldr", "uki", "copied", "uefi"],
    ["hybrid", "grub", "of NixOS", "bios", "uefi"],
    ["hybrid", "uki", "of NixOS", "bios"],
  ];

  it.each(cases)("start %s by %s with a kernel %s", { timeout: 240_000 }, async (table, kind, name, ...firmwares) => {
    const options = { kind, entry: entries[name], rootUuid: ROOT_UUID, timeoutSeconds: 0 };
    const parts = await bootLoaderFor(SMALL_DISKS[table], options, tools);
    const file = join(directory, `${table}-${kind}-${name}.img`);
    await makeBootDisk(file, SMALL_DISKS[table], parts, name === "copied" ? undefined : rootTree);
    const init = name === "of NixOS" ? `init=${TOPLEVEL}/init ` : "";
    for (const firmware of firmwares) {
      const said = await startDisk(file, firmware);
      expect(said, firmware).toMatch(
        new RegExp(
          `started: (?:(?:BOOT_IMAGE|initrd)=(?:"[^"]*"|\\S+) )?${init}console=ttyS0 quiet "?words="?two words" end\\s`,
        ),
      );
    }
    rmSync(file);
  });

  it("start the kernel of their own disk, where another one has the same UUIDs", { timeout: 240_000 }, async () => {
    const options = { kind: "grub", entry: entries["of NixOS"], rootUuid: ROOT_UUID, timeoutSeconds: 0 } as const;
    const parts = await bootLoaderFor(SMALL_DISKS.efi, options, tools);
    const [own, other, otherTree] = ["own.img", "other.img", "other"].map((each) => join(directory, each)) as [
      string,
      string,
      string,
    ];
    await makeBootDisk(own, SMALL_DISKS.efi, parts, rootTree);
    makeSystem(otherTree, await makeTalkingInitramfs(join(directory, "second"), "of the other disk"));
    // Firmware that finds nothing to start on the first disk has to look at all of them.
    await makeBootDisk(other, SMALL_DISKS.efi, { ...parts, esp: [] }, otherTree);
    expect(await startDisk(own, "uefi", other)).toContain("started: ");
  });
});
