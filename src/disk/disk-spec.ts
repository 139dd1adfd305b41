import {
  arrayOf,
  type Check,
  type Described,
  field,
  flag,
  mode,
  object,
  objectOf,
  text,
  texts,
  wholeNumber,
} from "../build/spec/checks.js";
import { type ClosureSpec, closure, type VirtualMachineSpec, virtualMachine } from "../build/spec/parts.js";
import { script } from "../build/spec/values.js";
import { wrong } from "../core/json.js";
import type { Schema } from "../core/json-schema.js";
import type { BootLoaderKind } from "./boot-loader/boot-loader.js";
import { BOOT_LOADERS, byteSize, diskSize, fileName, guid, label, oneOf, ownerName, target } from "./disk-values.js";
import { DISK_FORMATS, type DiskFormat } from "./format/convert.js";
import { TABLE_NAMES, type TableName } from "./layout.js";

/** A file or a directory that is copied into the root file system. */
export interface DiskContent {
  /** A path of this machine, in which `*`, `?` and `[…]` stand for several; those go into `target` as a directory. */
  readonly source: string;
  readonly target: string;
  /** Of files; a directory can be entered besides by whoever may read it. By default what the source has. */
  readonly mode?: number | undefined;
  /** Name in the image's /etc/passwd, or a number; by default 0. Goes with `group`. */
  readonly user?: string | undefined;
  readonly group?: string | undefined;
}

/** How the disk starts. */
export interface BootLoaderSpec {
  readonly kind: BootLoaderKind;
  /** Files of this machine; by default those of `toplevel`. */
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
  /** The kernel's command line; by default that of `toplevel`. */
  readonly cmdline?: string | undefined;
  /** With GRUB's modules for BIOS, and for UEFI; by default those that grub-mkimage has come with. */
  readonly grubBiosDirectory?: string | undefined;
  readonly grubEfiDirectory?: string | undefined;
  /** With systemd-boot and the stub of unified kernel images; by default those that bootctl has come with. */
  readonly systemdBootDirectory?: string | undefined;
}

/** A disk image, by make-disk-image's names. */
export interface DiskSpec {
  readonly closure?: ClosureSpec | undefined;
  /** Place of an image whose root file system the disk gets, instead of a closure. */
  readonly fromImage?: string | undefined;
  /** `os/architecture[/variant]`, where `fromImage` stands for several. */
  readonly platform?: string | undefined;
  /** A NixOS system: it becomes the system profile. */
  readonly toplevel?: string | undefined;
  readonly bootLoader?: BootLoaderSpec | undefined;
  /** By default `legacy`. */
  readonly partitionTableType?: TableName | undefined;
  /** Bytes; by default `auto`. */
  readonly diskSize?: number | "auto" | undefined;
  /** Whether `auto` is the smallest size that holds all. */
  readonly minimise?: boolean | undefined;
  /** Bytes that `auto` leaves free; by default 512 MiB. */
  readonly additionalSpace?: number | undefined;
  /** Where the boot partition ends, in bytes; by default 256 MiB. */
  readonly bootSize?: number | undefined;
  /** By default `nixos`, with `onlyNixStore` `nix-store`. */
  readonly label?: string | undefined;
  readonly contents?: readonly DiskContent[] | undefined;
  /** A file that becomes /etc/nixos/configuration.nix. */
  readonly configFile?: string | undefined;
  /** Store paths that are shipped, too. */
  readonly additionalPaths?: readonly string[] | undefined;
  /** Whether the file system holds the contents of the store, and nothing else. */
  readonly onlyNixStore?: boolean | undefined;
  /** By default whether there is a closure that does not go without it. */
  readonly nixDatabase?: boolean | undefined;
  /** A store path with the channel's Nix expressions below `nixos`. */
  readonly channel?: string | undefined;
  /** Whether `channel` is root's channel; by default where there is one. */
  readonly copyChannel?: boolean | undefined;
  readonly rootGPUID?: string | undefined;
  /** By default `rootGPUID`. */
  readonly rootFSUID?: string | undefined;
  readonly fsType?: "ext4" | undefined;
  /** By default true: identifiers are always the same ones. */
  readonly deterministic?: boolean | undefined;
  /** By default `nixos`: the name of a file in a directory. */
  readonly baseName?: string | undefined;
  /** By default `raw`. */
  readonly format?: DiskFormat | undefined;
  /** Of the format `qcow2-compressed`; by default `zlib`. */
  readonly compression?: "zlib" | "zstd" | undefined;
  /** Memory of a virtual machine in MiB, where one is needed; by default 1024. */
  readonly memSize?: number | undefined;
  /** What that machine runs before the system; by default what is installed. */
  readonly vm?: VirtualMachineSpec | undefined;
  /** Whether the system's own installer makes the disk start, in a virtual machine. */
  readonly installBootLoader?: boolean | undefined;
  /** Whether that machine starts by UEFI, with variables that the installer may change and that are kept beside the image. */
  readonly touchEFIVars?: boolean | undefined;
  /** A shell script that runs on this machine when the image is there. */
  readonly postVM?: string | undefined;
}

const content = objectOf(
  {
    source: field("File or directory of this machine, or several by *, ? and [...]", text),
    target: field("Where it goes; of several the directory that they go to", target, { examples: ["/etc/motd"] }),
    mode: field("Mode in octal, by default the source's", mode),
    user: field("Owner by the image's /etc/passwd, or a number", ownerName),
    group: field("Group by the image's /etc/group, or a number", ownerName),
  },
  ["source", "target"],
  ({ source, target, ...rest }, where): DiskContent => {
    if (source === undefined || target === undefined) throw wrong(where, 'an object with "source" and "target"');
    if ((rest.user === undefined) !== (rest.group === undefined)) {
      throw wrong(where, 'an object with both "user" and "group", or neither');
    }
    return { source, target, ...rest };
  },
);

const bootLoader: Check<BootLoaderSpec> = objectOf(
  {
    kind: field("Which one", oneOf(BOOT_LOADERS)),
    kernel: field("File of the kernel, by default that of toplevel", text),
    initrd: field("File of its initial root file system, by default that of toplevel", text),
    cmdline: field("Command line of the kernel, by default that of toplevel", text),
    grubBiosDirectory: field("GRUB's modules for BIOS (lib/grub/i386-pc), by default those of grub-mkimage", text),
    grubEfiDirectory: field("GRUB's modules for UEFI (lib/grub/x86_64-efi), by default those of grub-mkimage", text),
    systemdBootDirectory: field("systemd-boot and its stub (lib/systemd/boot/efi), by default those of bootctl", text),
  },
  ["kind"],
  ({ kind, ...rest }, where): BootLoaderSpec => {
    if (kind === undefined) throw wrong(where, 'an object with "kind"');
    return { kind, ...rest };
  },
);

const FIELDS = {
  closure: field("Where the store paths come from", closure),
  fromImage: field("Place of an image whose root file system it gets", text, { examples: ["oci:base:1"] }),
  platform: field("Platform of fromImage, where it stands for several", text, { examples: ["linux/arm64"] }),
  toplevel: field("Store path of a NixOS system, which becomes the system profile", text),
  bootLoader: field("How the disk starts; without, it does not", bootLoader),
  partitionTableType: field("Partition table, and which partitions there are", oneOf(TABLE_NAMES), {
    default: "legacy",
  }),
  diskSize: field("MiB, or as many as it takes", diskSize, { default: "auto" }),
  minimise: field("Whether an automatic size is the smallest", flag, { default: false }),
  additionalSpace: field("Free space of an automatic size, M being 2^20", byteSize, { default: "512M" }),
  bootSize: field("Where the boot partition ends, M being 2^20", byteSize, { default: "256M" }),
  label: field("Label of the root file system", label, { default: "nixos" }),
  contents: field("Files and directories that are copied into it", arrayOf(content)),
  configFile: field("File that becomes /etc/nixos/configuration.nix", text),
  additionalPaths: field("Store paths that are shipped, too", texts),
  onlyNixStore: field("Whether it holds the contents of the store alone", flag, { default: false }),
  nixDatabase: field("Whether there is a Nix database of the closure", flag, { default: true }),
  channel: field("Store path with a channel's expressions below nixos", text),
  copyChannel: field("Whether channel is root's channel", flag),
  rootGPUID: field("GUID of the root partition", guid),
  rootFSUID: field("UUID of the root file system, by default rootGPUID", guid),
  fsType: field("Type of the root file system", oneOf(["ext4"] as const), { default: "ext4" }),
  deterministic: field("Whether identifiers that are not given are always the same ones", flag, { default: true }),
  baseName: field("Name of the file in a directory, without its suffix", fileName, { default: "nixos" }),
  format: field("Format of the file", oneOf(DISK_FORMATS), { default: "raw" }),
  compression: field("How qcow2-compressed is packed", oneOf(["zlib", "zstd"] as const), { default: "zlib" }),
  memSize: field("Memory of a virtual machine in MiB", wholeNumber(2 ** 24, 64), { default: 1024 }),
  vm: field("What that virtual machine runs, by default what is installed", virtualMachine),
  installBootLoader: field("Whether toplevel's own installer makes it start, in a virtual machine", flag, {
    default: false,
  }),
  touchEFIVars: field("Whether that may change the variables of UEFI, which are kept as efi-vars.fd", flag, {
    default: false,
  }),
  postVM: field("Shell script that runs on this machine when the image is there", script),
} as const satisfies { readonly [Key in keyof Required<DiskSpec>]: Described<unknown> } & Readonly<
  Record<string, Described<unknown>>
>;

/** Checks each field by itself. */
export const checkDiskFields = object({ $schema: field("The schema of this file, for editors", text), ...FIELDS });

/** The JSON Schema of disk spec files, a draft 2020-12 document. */
export const DISK_SPEC_SCHEMA: Schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "oci-nix disk spec file",
  ...checkDiskFields.schema,
};
