import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type BootLoaderKind,
  type BootLoaderOptions,
  bootLoaderFor,
  rootParameter,
} from "../../../../src/disk/boot-loader/boot-loader.js";
import { bootEntryOfFiles } from "../../../../src/disk/boot-loader/entries.js";
import { DiskTools } from "../../../../src/disk/tools.js";
import { ROOT_UUID, SMALL_DISKS } from "../../../support/boot-disks.js";
import { requireTools } from "../../../support/tools.js";

const NO_TABLE = { label: undefined, partitions: [] };

describe.skipIf(requireTools("grub-mkimage"))("the boot loader of a disk", () => {
  let directory: string;
  let tools: DiskTools;
  let options: BootLoaderOptions;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "loader-"));
    tools = new DiskTools();
    const kernel = join(directory, "kernel");
    writeFileSync(kernel, Buffer.concat([Buffer.alloc(0x202), Buffer.from("HdrS kernel")]));
    const entry = bootEntryOfFiles({ kernel, commandLine: "quiet" });
    options = { kind: "grub", entry, rootUuid: ROOT_UUID };
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    tools.close();
    rmSync(directory, { recursive: true });
  });

  const make = (disk: Parameters<typeof bootLoaderFor>[0], changes: Partial<BootLoaderOptions> = {}) =>
    bootLoaderFor(disk, { ...options, ...changes }, tools);

  type Table = keyof typeof SMALL_DISKS;
  type Row = [Table, BootLoaderKind, { root?: string[]; esp?: string[]; boot?: string[] }, boolean];
  const LOADER = ["/EFI/BOOT/BOOTX64.EFI"];
  const SYSTEMD = [...LOADER, "/EFI/systemd/systemd-bootx64.efi"];
  const ENTRY = ["/loader/entries.srel", "/loader/entries/linux.conf"];
  const GRUB = ["/grub/grub.cfg", "/vmlinuz"];
  const rows: readonly Row[] = [
    ["legacy", "grub", { root: ["/boot/grub/grub.cfg", "/boot/vmlinuz"] }, true],
    ["legacy", "none", {}, false],
    ["legacy+boot", "grub", { boot: GRUB }, true],
    ["efi", "grub", { esp: [...LOADER, ...GRUB] }, false],
    ["efi", "systemd-boot", { esp: [...SYSTEMD, ...ENTRY, "/loader/loader.conf", "/vmlinuz"] }, false],
    ["efixbootldr", "systemd-boot", { esp: [...SYSTEMD, "/loader/loader.conf"], boot: [...ENTRY, "/vmlinuz"] }, false],
    ["efixbootldr", "uki", { esp: LOADER }, false],
    [
      "hybrid",
      "systemd-boot",
      { esp: [...SYSTEMD, "/grub/grub.cfg", ...ENTRY, "/loader/loader.conf", "/vmlinuz"] },
      true,
    ],
    ["hybrid", "uki", { esp: [...LOADER, ...GRUB] }, true],
  ];
  it.each(rows)("puts into %s for %s files where they are looked for", async (table, kind, files, hasCode) => {
    const { embed, ...parts } = await make(SMALL_DISKS[table], { kind });
    const paths = Object.fromEntries(Object.entries(parts).map(([name, each]) => [name, each.map(({ path }) => path)]));
    expect(paths).toEqual({ root: [], esp: [], boot: [], ...files });
    expect(embed !== undefined).toBe(hasCode);
  });

  it("is the same every time", async () => {
    const bytes = async (kind: BootLoaderKind) => {
      const { root, esp, boot, embed } = await make(SMALL_DISKS.hybrid, { kind });
      const disk = join(directory, "disk");
      writeFileSync(disk, Buffer.alloc(3 * 1024 * 1024));
      embed?.(disk);
      const files = [...root, ...esp, ...boot].map((each) =>
        "source" in each ? readFileSync(each.source) : each.contents,
      );
      return Buffer.concat([readFileSync(disk), ...files]);
    };
    for (const kind of ["grub", "systemd-boot", "uki"] as const) {
      expect((await bytes(kind)).equals(await bytes(kind)), kind).toBe(true);
    }
  });

  it.each([
    ["legacy", "systemd-boot", "systemd-boot cannot start this disk: there is no EFI system partition"],
    ["legacy+gpt", "uki", "uki cannot start this disk: there is no EFI system partition"],
  ] as const)("is refused for %s where it is %s", async (table, kind, message) => {
    await expect(make(SMALL_DISKS[table], { kind })).rejects.toThrow(message);
  });

  it("is refused for a disk without a table", async () => {
    await expect(make(NO_TABLE)).rejects.toThrow("grub cannot start this disk: there is no partition table");
    expect(await make(NO_TABLE, { kind: "none" })).toEqual({ root: [], esp: [], boot: [], embed: undefined });
  });

  it("is refused for a disk without a root partition", async () => {
    const { partitions, ...disk } = SMALL_DISKS.legacy;
    const others = partitions.filter(({ role }) => role !== "root");
    await expect(make({ ...disk, partitions: others })).rejects.toThrow(
      expect.objectContaining({ code: "invalid-input", message: "the disk has no partition for root" }),
    );
  });

  it("is refused without a kernel, or with what is none", async () => {
    const entry = (kernel: string) => ({ entry: bootEntryOfFiles({ kernel, commandLine: "" }) });
    const none = join(directory, "none");
    await expect(make(SMALL_DISKS.legacy, entry(none))).rejects.toThrow(
      `cannot read ${none}: no such file or directory (ENOENT)`,
    );
    await expect(make(SMALL_DISKS.legacy, entry("/etc/passwd"))).rejects.toThrow(
      "/etc/passwd is no x86 Linux kernel that boot loaders start (bzImage)",
    );
    await expect(make(SMALL_DISKS.legacy, entry(directory))).rejects.toThrow(
      `cannot read ${directory}: it is not a regular file`,
    );
  });

  it("is refused where a line of a configuration file would be two, or a file name none", async () => {
    const { entry } = options;
    const changed = (changes: Partial<typeof entry>) => make(SMALL_DISKS.efi, { entry: { ...entry, ...changes } });
    await expect(changed({ commandLine: "a\nb" })).rejects.toThrow(
      "the boot entry's command line has a control character: a\\x0ab",
    );
    await expect(changed({ title: "a\nb" })).rejects.toThrow("the boot entry's title has a control character");
    await expect(changed({ id: "../x" })).rejects.toThrow('the boot entry\'s name "../x" cannot be that of a file');
    await expect(changed({ commandLine: "a".repeat(2048) })).rejects.toThrow("2048 bytes, 2047 are possible");
  });

  it("is refused where the initrd is not there, by its name", async () => {
    const initrd = { source: "/nonexistent/initrd", bootPath: "/initrd.img" };
    await expect(make(SMALL_DISKS.efi, { entry: { ...options.entry, initrd } })).rejects.toThrow(
      "cannot read /nonexistent/initrd: no such file or directory (ENOENT)",
    );
  });

  it("is refused where kernel and initrd want one place", async () => {
    const { entry } = options;
    const initrd = { ...entry.kernel, source: "/etc/passwd" };
    await expect(make(SMALL_DISKS.efi, { entry: { ...entry, initrd } })).rejects.toThrow(
      "two files of the boot loader are /vmlinuz",
    );
  });

  it("is refused where GRUB's modules are missing, naming who has them", async () => {
    await expect(make(SMALL_DISKS.legacy, { grubBiosDirectory: directory })).rejects.toMatchObject({
      message: `GRUB for i386-pc is not in ${directory}: there is no boot.img`,
      hint: "install the Debian package grub-pc-bin, or give bootLoader.grubBiosDirectory: lib/grub/i386-pc of grub2 of nixpkgs",
    });
    await expect(make(SMALL_DISKS.efi, { grubEfiDirectory: directory })).rejects.toThrow(
      `GRUB for x86_64-efi is not in ${directory}: there is no kernel.img`,
    );
  });

  it("is refused where GRUB's modules and grub-mkimage are of two versions", async () => {
    const other = join(directory, "grub");
    mkdirSync(other);
    cpSync("/usr/lib/grub/i386-pc", other, { recursive: true });
    const info = readFileSync(join(other, "modinfo.sh"), "utf8");
    writeFileSync(join(other, "modinfo.sh"), info.replace(/^grub_version=.*$/m, 'grub_version="2.99"'));
    await expect(make(SMALL_DISKS.legacy, { grubBiosDirectory: other })).rejects.toThrow(
      /grub is of GRUB 2\.99, grub-mkimage is of GRUB 2\.\d\d$/,
    );
  });

  it("is refused where GRUB's core is larger than the gap", async () => {
    const gap = {
      label: "dos" as const,
      partitions: [{ number: 1, role: "root" as const, start: 63 * 512, size: 2 ** 20, uuid: "" }],
    };
    await expect(make(gap)).rejects.toThrow(
      /^GRUB has \d+ bytes, but the gap before the first partition has room for 31744$/,
    );
  });

  it("can be from any directory", async () => {
    const other = join(directory, "it's elsewhere");
    symlinkSync("/usr/lib/grub/i386-pc", other);
    expect((await make(SMALL_DISKS.legacy, { grubBiosDirectory: other })).embed).toBeDefined();
  });

  it("is by default of what the programs on the PATH have come with", async () => {
    const store = join(directory, "store/grub");
    for (const each of ["bin", "lib/grub/i386-pc"]) mkdirSync(join(store, each), { recursive: true });
    writeFileSync(join(store, "bin/grub-mkimage"), "");
    mkdirSync(join(directory, "profile"));
    symlinkSync(join(store, "bin"), join(directory, "profile/bin"));
    vi.stubEnv("PATH", join(directory, "profile/bin"));
    await expect(make(SMALL_DISKS.legacy)).rejects.toThrow(`GRUB for i386-pc is not in ${store}/lib/grub/i386-pc`);
    rmSync(join(store, "lib"), { recursive: true });
    // Debian's is found then, and the program, which is empty, cannot be run.
    await expect(make(SMALL_DISKS.legacy)).rejects.toThrow("grub-mkimage cannot be run");
  });
});

describe("the kernel's parameter for the root file system", () => {
  it("is a UUID that an initrd finds, or else the partition's, which the kernel finds", () => {
    const rootUuid = ROOT_UUID.toUpperCase();
    const parameter = (disk: Parameters<typeof rootParameter>[0], hasInitrd: boolean) =>
      rootParameter(disk, { rootUuid, hasInitrd });
    expect(parameter(SMALL_DISKS.efi, true)).toBe(`root=UUID=${ROOT_UUID}`);
    expect(parameter(SMALL_DISKS.efi, false)).toBe("root=PARTUUID=97fd5997-f390-0b4a-a3f8-000000000002");
    expect(parameter(SMALL_DISKS.legacy, false)).toBe("root=PARTUUID=97fd5997-01");
    expect(parameter(NO_TABLE, false)).toBe(`root=UUID=${ROOT_UUID}`);
  });
});
