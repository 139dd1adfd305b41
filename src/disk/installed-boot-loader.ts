import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { rootPrefix } from "../build/file-tree.js";
import { type ByteString, encodeUtf8, fsPath } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { DEFAULT_STORE_DIR, stateDirOf } from "../nix/store-path.js";
import { type BootCode, readBootCode, writeBootCode } from "./boot-loader/boot-code.js";
import type { BootLoaderFile } from "./boot-loader/boot-entry.js";
import type { BootLoaderParts } from "./boot-loader/boot-loader.js";
import type { DiskObserver } from "./disk-observer.js";
import type { DiskSpec } from "./disk-spec.js";
import { ext4Bytes } from "./ext4/size.js";
import type { Identifiers } from "./identifiers.js";
import type { DiskLayout, PartitionRole } from "./layout.js";
import { makeRawFile } from "./raw-file.js";
import type { RootTree } from "./root-tree.js";
import { layoutOf, withUuidsOf } from "./spec-layout.js";
import type { DiskTools } from "./tools.js";
import { installBoot } from "./vm/boot-installer.js";
import type { ChangedEntry } from "./vm/changes.js";
import { findUefiFirmware } from "./vm/firmware.js";
import type { GuestMount } from "./vm/init.js";
import type { Accelerator } from "./vm/qemu.js";
import { writeDisk } from "./write-disk.js";

/** What a NixOS system's own installer made for the disk to start. */
export interface InstalledBootLoader extends Omit<BootLoaderParts, "root"> {
  /** In `/boot` of the root file system, by path without a slash in front. */
  readonly root: readonly ChangedEntry[];
  /** The variables of UEFI as they were afterwards: a file that is there until the tools are closed. */
  readonly efiVariables: string | undefined;
  readonly accelerator: Accelerator;
}

interface Installation {
  readonly spec: DiskSpec;
  readonly ids: Identifiers;
  /** Says where partitions begin, and what they are called. */
  readonly sketch: DiskLayout;
  readonly root: RootTree;
  readonly label: string;
  /** The disk image that is to be made; the installer's disk is beside it meanwhile. */
  readonly path: string;
  readonly tools: DiskTools;
  readonly signal?: AbortSignal | undefined;
  readonly observer?: DiskObserver | undefined;
}

const MIB = 2 ** 20;
/** For what activation and the installer write to the root file system. */
const SPARE = 1024 * MIB;
const DEFAULT_MEMORY_MIB = 1024;
/** An installer that waits for something would wait for ever. */
const DEADLINE_MS = 3600 * 1000;
/** Whatever else it is, a different one each time is no part of an image. Systemd makes one where there is none. */
const RANDOM_SEED = "loader/random-seed";

/**
 * Has the system of a spec install its boot loader on a disk of its own in a virtual machine, and takes what it made for booting from there. All
 * else that it wrote is left out: the rest of the image is made as any other.
 * @throws OciNixError `not-found` for a system without an installer; as `checkInstalled`, `installBoot` and `writeDisk`
 */
export async function installedBootLoader(installation: Installation): Promise<InstalledBootLoader> {
  const { spec, ids, sketch, root, label, path, tools, signal, observer } = installation;
  const { storeDir = DEFAULT_STORE_DIR } = spec.closure ?? {};
  checkInstaller(spec);
  const firmware = spec.touchEFIVars === true ? findUefiFirmware() : undefined;
  const layout = withUuidsOf(sketch, layoutOf(spec, ids, { rootBytes: ext4Bytes(root.entries) + SPARE }));
  const directory = mkdtempSync(join(tools.directory, "installed-boot-"));
  const efiVariables = firmware && join(directory, "efi-vars.fd");
  const disk = makeRawFile(path, layout.size);
  try {
    const boot = { esp: [], boot: [], embed: undefined };
    await writeDisk(disk.path, { layout, ids, root, label, boot }, { tools, signal, observer });
    observer?.onStep("running the system's installer in a virtual machine");
    const mounts = mountsOf(layout);
    const { entries, accelerator } = await installBoot(
      {
        disk: disk.path,
        mounts,
        bootBytes: layout.size,
        profile: `${stateDirOf(storeDir)}/profiles/system`,
        system: spec.vm,
        machineId: createHash("sha256").update(`${ids.rootUuid} machine-id`).digest("hex").slice(0, 32),
        memoryMiB: spec.memSize ?? DEFAULT_MEMORY_MIB,
        deadlineMs: DEADLINE_MS,
        uefi: firmware && efiVariables ? { firmware, file: efiVariables } : undefined,
        signal,
        onLine: observer?.onLine,
      },
      tools,
    );
    const parts = partsOf(entries, layout, readBootCode(disk.path, layout));
    checkInstalled(parts, spec);
    return { ...parts, efiVariables, accelerator };
  } finally {
    disk.discard();
  }
}

/** @throws OciNixError `not-found` */
function checkInstaller({ toplevel = "", closure }: DiskSpec): void {
  const installer = `${toplevel}/bin/switch-to-configuration`;
  const file = rootPrefix(closure?.storeRoot ?? "/") + encodeUtf8(installer);
  if (lstatSync(fsPath(file), { throwIfNoEntry: false }) !== undefined) return;
  throw new OciNixError("not-found", `${toplevel} has no installer of a boot loader: there is no ${installer}`, {
    hint: "name the toplevel of a NixOS system that can be switched to (system.switch.enable), or take a bootLoader",
  });
}

/** @throws OciNixError `invalid-input` where nothing could start the disk */
export function checkInstalled(
  { root, esp, boot, embed }: Pick<InstalledBootLoader, "root" | "esp" | "boot" | "embed">,
  { toplevel = "" }: DiskSpec,
): void {
  const isFile = ({ type }: ChangedEntry) => type !== "directory";
  if (embed !== undefined || esp.length > 0 || boot.length > 0 || root.some(isFile)) return;
  const message = `the boot loader's installer of ${toplevel} installed nothing: neither code before the first partition nor a file of /boot or the ESP`;
  throw new OciNixError("invalid-input", message, {
    hint: "enable a boot loader in the system's configuration (boot.loader), or take a bootLoader",
  });
}

/** The partition whose file system is `/boot`, where one is. */
function bootRole({ partitions }: DiskLayout): "boot" | "xbootldr" | "esp" | undefined {
  return (["boot", "xbootldr", "esp"] as const).find((role) => partitions.some((each) => each.role === role));
}

/** As make-disk-image has them. */
function mountsOf(layout: DiskLayout): readonly GuestMount[] {
  const role = bootRole(layout);
  const mount = (wanted: PartitionRole, at: string, type: GuestMount["type"]) =>
    layout.partitions
      .filter((each) => each.role === wanted)
      .map(({ number }): GuestMount => ({ device: `/dev/vda${number}`, at, type, access: "write" }));
  return [
    ...mount("root", "/", "ext4"),
    ...(role === undefined ? [] : mount(role, "/boot", "vfat")),
    ...(role === "xbootldr" ? mount("esp", "/efi", "vfat") : []),
  ];
}

function partsOf(
  entries: ReadonlyMap<ByteString, ChangedEntry>,
  layout: DiskLayout,
  code: BootCode,
): Pick<InstalledBootLoader, "root" | "esp" | "boot" | "embed"> {
  const role = bootRole(layout);
  const inBoot = role === undefined ? [] : filesBelow(entries, "boot");
  return {
    root: role === undefined ? [...entries.values()].sort((a, b) => compareStrings(a.path, b.path)) : [],
    esp: role === "esp" ? inBoot : filesBelow(entries, "efi"),
    boot: role === "esp" ? [] : inBoot,
    embed: code.length === 0 ? undefined : (file) => writeBootCode(file, code),
  };
}

/** The files of a FAT file system, which has nothing but files and directories. */
function filesBelow(entries: ReadonlyMap<ByteString, ChangedEntry>, mountPoint: string): readonly BootLoaderFile[] {
  return [...entries.values()]
    .filter(({ path, type }) => type === "file" && path.startsWith(`${mountPoint}/`))
    .map(({ path, source }) => ({
      path: path.slice(mountPoint.length),
      source: Buffer.from(source, "latin1").toString(),
    }))
    .filter(({ path }) => path !== `/${RANDOM_SEED}`)
    .sort((a, b) => compareStrings(a.path, b.path));
}
