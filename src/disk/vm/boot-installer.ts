import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { ByteString } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { type ChangedEntry, readWritten } from "./changes.js";
import { makeGuestDisk } from "./guest-disk.js";
import { CHANGES, type GuestMount, quoted } from "./init.js";
import { type Job, type JobResult, runJob } from "./run-job.js";

/** Has a NixOS system install its boot loader on a disk that it is on. */
export interface BootInstallation
  extends Pick<Job, "memoryMiB" | "deadlineMs" | "uefi" | "system" | "signal" | "onLine"> {
  /** A raw disk, which is written to. */
  readonly disk: string;
  /** Where the system finds it: the disk itself is `/dev/vda`. The root comes first. */
  readonly mounts: readonly GuestMount[];
  /** Bytes that the files for booting have at most: sparse, in the tools' directory. */
  readonly bootBytes: number;
  /** Path of the system in the root, or of a link to it. */
  readonly profile: string;
  /** 32 hexadecimal digits: the machine id where the root has none, so that nobody makes a random one. */
  readonly machineId: string;
}

export interface InstalledBoot extends Pick<JobResult, "accelerator" | "seconds"> {
  /** What is in `/boot` and, where it is mounted, in `/efi`: by path without a slash in front. Files are in the tools' directory. */
  readonly entries: ReadonlyMap<ByteString, ChangedEntry>;
}

/** Other names that a NixOS system may have for the disk to which its boot loader goes. */
const OTHER_NAMES = ["sda", "hda", "xvda", "nvme0n1"];
const LAST_LINES = 12;

/**
 * Does in a virtual machine what nixos-install does on a new disk: activates the system in its root, and has it install its boot loader.
 * @throws OciNixError as {@link runJob}; `invalid-input` where the installer fails, with its last lines; `output` where there is no room for what it made
 */
export async function installBoot(installation: BootInstallation, tools: DiskTools): Promise<InstalledBoot> {
  const { disk, mounts, bootBytes, profile, machineId, ...job } = installation;
  const directory = mkdtempSync(join(tools.directory, "boot-installer-"));
  const archive = join(directory, "boot.tar");
  makeGuestDisk(archive, bootBytes);
  const kept = ["/boot", ...mounts.map(({ at }) => at).filter((at) => at !== "/" && at !== "/boot")];
  const { status, log, accelerator, seconds } = await runJob(
    {
      ...job,
      disks: [disk, archive].map((file) => ({ file, access: "write" })),
      mounts,
      place: "initramfs",
      script: installerScript({ profile, machineId, kept }),
      whenFull: mounts.some(({ at }) => at === "/boot")
        ? "make the boot partition larger: bootSize is the offset at which it ends"
        : "its root file system has a GiB for what activation and installer write: have them write less",
    },
    tools,
  );
  if (status !== 0) {
    const last = log.trimEnd().split("\n").slice(-LAST_LINES).join("\n");
    const message = `the boot loader's installer of ${profile} failed (exit ${status}); its last lines:\n${last}`;
    throw new OciNixError("invalid-input", message, {
      hint: "it installs to /dev/vda, with /boot (and /efi) as the partition table says",
    });
  }
  const { entries } = await readWritten(archive, join(directory, "boot"));
  return { entries, accelerator, seconds };
}

/** Runs outside of the root, as there need not be a shell in it before the system is activated. */
function installerScript({
  profile,
  machineId,
  kept,
}: Pick<BootInstallation, "profile" | "machineId"> & { readonly kept: readonly string[] }): string {
  const root = `/${CHANGES.root}`;
  const [activate, tmpfiles, installer, locales] = [
    "activate",
    "sw/bin/systemd-tmpfiles",
    "bin/switch-to-configuration",
    "sw/lib/locale/locale-archive",
  ].map((path) => quoted(`${profile}/${path}`));
  return `#!/bin/sh
# By these names, which udev makes elsewhere, bootctl and others look for disks.
mkdir -p /dev/block
for each in /sys/class/block/vda*; do ln -sf "../\${each##*/}" "/dev/block/$(cat "$each/dev")"; done
for name in ${OTHER_NAMES.join(" ")}; do [ -e "/dev/$name" ] || ln -s vda "/dev/$name"; done

cd ${root} && mkdir -p etc
[ -e etc/mtab ] || [ -L etc/mtab ] || ln -s /proc/mounts etc/mtab
[ -L etc/machine-id ] || [ -s etc/machine-id ] || echo ${machineId} >etc/machine-id

IN_NIXOS_ENTER=1 LOCALE_ARCHIVE=${locales} chroot ${root} ${activate} ||
  echo "[vm] activate ended with $?, which an installer may do without"
chroot ${root} ${tmpfiles} --create --remove -E 2>/dev/null
NIXOS_INSTALL_BOOTLOADER=1 chroot ${root} ${installer} boot || exit

sync
for each in ${kept.map((path) => quoted(CHANGES.root + path)).join(" ")}; do
  if [ -d "/$each" ] && [ ! -L "/$each" ]; then set -- "$@" "$each"; fi
done
[ $# = 0 ] || tar -c -C / -f /dev/vdb "$@"
`;
}
