import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { type BootEntry, type BootFile, type BootLoaderFile, checkEntry, readWhole, sourceOf } from "./boot-entry.js";
import { grubConfig } from "./grub-config.js";
import { type CorePlace, embedGrub, linkGrub } from "./grub-embed.js";
import { grubDirectory, grubFile, makeGrubImage } from "./grub-image.js";
import { systemdBootDirectory, systemdBootFiles } from "./systemd-boot.js";
import { ukiFile } from "./uki.js";

/** `uki`: the firmware starts a unified kernel image, without a loader or a menu. */
export type BootLoaderKind = "none" | "grub" | "systemd-boot" | "uki";

/** What of a disk's layout decides how it starts. Offsets and sizes in bytes. */
interface BootDisk {
  readonly label: "dos" | "gpt" | undefined;
  readonly partitions: readonly {
    readonly number: number;
    readonly role: "root" | "esp" | "bios-grub" | "boot" | "xbootldr";
    readonly start: number;
    readonly size: number;
    readonly uuid: string;
  }[];
}

export interface BootLoaderOptions {
  readonly kind: BootLoaderKind;
  readonly entry: BootEntry;
  /** The root file system's. */
  readonly rootUuid: string;
  /** How long a menu waits; by default 5. */
  readonly timeoutSeconds?: number | undefined;
  /** With GRUB's modules for BIOS, and for UEFI; by default those that grub-mkimage has come with, or where Debian has them. */
  readonly grubBiosDirectory?: string | undefined;
  readonly grubEfiDirectory?: string | undefined;
  /** With systemd-boot and the stub of unified kernel images; by default those that bootctl has come with, or where Debian has them. */
  readonly systemdBootDirectory?: string | undefined;
}

/** What makes a disk start: files for its file systems, each sorted by path, and what is outside of them. */
export interface BootLoaderParts {
  readonly root: readonly BootLoaderFile[];
  readonly esp: readonly BootLoaderFile[];
  /** For the partition `boot` or `xbootldr`. */
  readonly boot: readonly BootLoaderFile[];
  /** Writes the code that a BIOS starts into the raw image, whose table is there; undefined where no BIOS can. */
  readonly embed: ((file: string) => void) | undefined;
}

/**
 * Makes a boot loader for a disk. By BIOS (an MBR, or a `bios-grub` partition) it is GRUB, by UEFI (an ESP) the kind that is asked for; a disk with
 * both starts either way. The file system of `/boot` is that of the partition `boot`, `xbootldr` or `esp`, or else the root one; kernels that are not in the
 * root file system go there, and GRUB's configuration as `grub/grub.cfg`. Files stay where they are until `tools` is closed.
 * @throws OciNixError `invalid-input` for a disk that cannot start so; as {@link checkEntry}; `not-found` for missing programs; `limit` for a core image
 *   that is larger than its place
 */
export async function bootLoaderFor(
  disk: BootDisk,
  options: BootLoaderOptions,
  tools: DiskTools,
): Promise<BootLoaderParts> {
  const { kind, entry, timeoutSeconds = 5 } = options;
  if (kind === "none") return { root: [], esp: [], boot: [], embed: undefined };
  const place = corePlace(disk);
  const hasEsp = disk.partitions.some(({ role }) => role === "esp");
  checkKind(kind, { hasEsp, hasBios: place !== undefined });
  checkEntry(entry);
  const files = new BootFiles(disk);
  const systemdBoot = options.systemdBootDirectory ?? systemdBootDirectory();
  if (kind === "systemd-boot") {
    const parts = systemdBootFiles(entry, { directory: systemdBoot, timeoutSeconds }, tools);
    files.add("esp", parts.esp);
    files.add(files.bootRole, parts.boot);
  }
  if (kind === "uki") files.add("esp", [ukiFile(entry, { directory: systemdBoot }, tools)]);
  const usesGrub = kind === "grub" || place !== undefined;
  const prefix = usesGrub ? addGrubConfig(disk, files, { ...options, timeoutSeconds }) : "";
  if (kind === "grub" && hasEsp) {
    const directory = options.grubEfiDirectory ?? grubDirectory("x86_64-efi");
    files.add("esp", [
      { path: "/EFI/BOOT/BOOTX64.EFI", contents: await makeGrubImage("x86_64-efi", { directory, prefix }, tools) },
    ]);
  }
  if (place === undefined) return { ...files.sorted(), embed: undefined };
  const directory = options.grubBiosDirectory ?? grubDirectory("i386-pc");
  const bootImage = readWhole(grubFile("i386-pc", directory, "boot.img"));
  const linked = linkGrub(bootImage, await makeGrubImage("i386-pc", { directory, prefix }, tools), place);
  return { ...files.sorted(), embed: (file) => embedGrub(file, linked) };
}

/** What a kernel without an initrd, which knows no file system by its UUID, is told of the root file system; with one, too. */
export function rootParameter(
  disk: BootDisk,
  options: { readonly rootUuid: string; readonly hasInitrd: boolean },
): string {
  const { uuid } = disk.partitions.find(({ role }) => role === "root") ?? {};
  if (options.hasInitrd || uuid === undefined) return `root=UUID=${options.rootUuid.toLowerCase()}`;
  return `root=PARTUUID=${uuid.toLowerCase()}`;
}

function checkKind(
  kind: BootLoaderKind,
  { hasEsp, hasBios }: { readonly hasEsp: boolean; readonly hasBios: boolean },
): void {
  if (hasEsp || (hasBios && kind === "grub")) return;
  const why = hasBios ? "there is no EFI system partition" : "there is no partition table";
  const tables = kind === "grub" ? "any partition table but none" : "the partition table efi, efixbootldr or hybrid";
  const hint = hasBios ? `take ${tables}, or the boot loader grub` : `take ${tables}`;
  throw new OciNixError("invalid-input", `${kind} cannot start this disk: ${why}`, { hint });
}

const SECTOR = 512;

/** Where GRUB for BIOS goes, if a BIOS can start the disk at all. */
function corePlace({ label, partitions }: BootDisk): CorePlace | undefined {
  const reserved = partitions.find(({ role }) => role === "bios-grub");
  if (reserved !== undefined)
    return { name: `partition ${reserved.number}`, start: reserved.start, size: reserved.size };
  if (label !== "dos") return undefined;
  const first = Math.min(...partitions.map(({ start }) => start));
  return { name: "the gap before the first partition", start: SECTOR, size: first - SECTOR };
}

/** @returns GRUB's name of the directory with its configuration, on the disk that was started from */
function addGrubConfig(
  disk: BootDisk,
  files: BootFiles,
  { entry, rootUuid, timeoutSeconds }: BootLoaderOptions & { readonly timeoutSeconds: number },
): string {
  const located = (file: BootFile, what: "kernel" | "initrd"): BootFile => {
    if (file.path !== undefined) return file;
    const path = `${files.bootDirectory}${file.bootPath}`;
    files.add(files.bootRole, [{ path, source: sourceOf(file, what, "GRUB") }]);
    return files.bootRole === "root" ? { ...file, path } : file;
  };
  const kernel = located(entry.kernel, "kernel");
  const initrd = entry.initrd && located(entry.initrd, "initrd");
  const root = { uuid: rootUuid.toLowerCase(), partition: grubName(disk, "root") };
  const directory = `${files.bootDirectory}/grub`;
  const contents = grubConfig({ ...entry, kernel, initrd }, { root, timeoutSeconds });
  files.add(files.bootRole, [{ path: `${directory}/grub.cfg`, contents }]);
  return `(,${grubName(disk, files.bootRole)})${directory}`;
}

type Role = BootDisk["partitions"][number]["role"];

function grubName({ label, partitions }: BootDisk, wanted: Role): string {
  const partition = partitions.find(({ role }) => role === wanted);
  if (partition === undefined) throw new OciNixError("invalid-input", `the disk has no partition for ${wanted}`);
  return `${label === "dos" ? "msdos" : "gpt"}${partition.number}`;
}

/** Files by file system and path. */
class BootFiles {
  /** The partition whose file system is `/boot`, or contains it. */
  readonly bootRole: Role;
  /** Where `/boot` is in that file system. */
  readonly bootDirectory: "" | "/boot";
  readonly #files = { root: new Map(), esp: new Map(), boot: new Map() } satisfies Record<
    string,
    Map<ByteString, BootLoaderFile>
  >;

  constructor({ partitions }: BootDisk) {
    const roles = ["boot", "xbootldr", "esp"] as const;
    this.bootRole = roles.find((each) => partitions.some(({ role }) => role === each)) ?? "root";
    this.bootDirectory = this.bootRole === "root" ? "/boot" : "";
  }

  /** Two loaders may want one file; different ones cannot be in one place. @throws OciNixError `conflict` */
  add(role: Role, added: readonly BootLoaderFile[]): void {
    const files: Map<ByteString, BootLoaderFile> = this.#files[role === "root" || role === "esp" ? role : "boot"];
    for (const file of added) {
      const other = files.get(file.path);
      if (other !== undefined && !("source" in other && "source" in file && other.source === file.source)) {
        throw new OciNixError("conflict", `two files of the boot loader are ${displayBytes(file.path)}`, {
          hint: "give the kernel and the initrd names of their own",
        });
      }
      files.set(file.path, file);
    }
  }

  sorted(): Pick<BootLoaderParts, "root" | "esp" | "boot"> {
    const byPath = (files: ReadonlyMap<ByteString, BootLoaderFile>) =>
      [...files.values()].sort((a, b) => compareStrings(a.path, b.path));
    return { root: byPath(this.#files.root), esp: byPath(this.#files.esp), boot: byPath(this.#files.boot) };
  }
}
