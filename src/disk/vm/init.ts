/** A file system of the guest's disks. */
export interface GuestMount {
  /** As the guest calls it: `/dev/vda`, or `/dev/vda2` for a partition. */
  readonly device: string;
  /** Where the job finds it: `/` for the first one, which is the job's root. */
  readonly at: string;
  readonly type: "ext4" | "vfat";
  readonly access: "write" | "read";
}

/** Keeps what a job changes apart from its root, which stays as it is: disks as the guest calls them. */
export interface KeptChanges {
  /** Has an empty ext4 file system, which takes what the job writes. */
  readonly upper: string;
  /** Is given a tar archive once the job has ended well: see {@link CHANGES}. */
  readonly archive: string;
}

/** The members of the archive of changes. */
export const CHANGES = {
  /** What is in those directories of the root that were written to, each preceded by `./` and followed by a zero byte. */
  names: "names",
  /** The directory with what was written; that a name is gone is a character device with the numbers 0, 0. */
  root: "root",
} as const;

/** What else decides what init does. */
export interface InitOptions {
  /** Where what the script changes is kept apart from the root. */
  readonly changes?: KeptChanges | undefined;
  /** Where the script runs: in the root, or in the guest's first one, by busybox, with the root as `/root`. Default: `root`. */
  readonly place?: "root" | "initramfs" | undefined;
  /** Whether the firmware's variables are at `/sys/firmware/efi/efivars` of the root. */
  readonly efiVariables?: boolean | undefined;
}

/** What init shows as soon as it runs. */
export const UP = "[vm] up";

/** How a script ended, as init says it on the second serial port. */
export interface ScriptEnd {
  readonly status: number;
  /** Of the root, before it was unmounted. Bytes. */
  readonly free: number;
  readonly freeInodes: number;
}

/** Reads what init said on the second serial port: how the script ended, or why there was none. Undefined where it said nothing whole. */
export function parseReport(text: string): ScriptEnd | { readonly failure: string } | undefined {
  const line = text.replaceAll("\r", "").split("\n").at(-2) ?? "";
  const failure = /^failed (.+)$/.exec(line)?.[1];
  if (failure !== undefined) return { failure };
  const [, status, free, freeInodes] = /^ended (\d+) (\d+) (\d+)$/.exec(line) ?? [];
  return status === undefined
    ? undefined
    : { status: Number(status), free: Number(free), freeInodes: Number(freeInodes) };
}

/** All that a job has of an environment. */
const ENVIRONMENT = {
  PATH: "/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LC_ALL: "C",
  TZ: "UTC",
} as const;

/** Where the job's script is while it runs: what is made there is in no image. */
const SCRIPT = "/dev/.job";

/**
 * The script of a guest that mounts disks, runs /job/script in them as root, and says how it ended. Directories that are only there to mount
 * something are removed again.
 */
export function initScript(mounts: readonly GuestMount[], options: InitOptions = {}): string {
  const { changes, place = "root", efiVariables = false } = options;
  const environment = Object.entries(ENVIRONMENT).map(([name, value]) => quoted(`${name}=${value}`));
  const lines = mounts.map(({ device, at, type, access }) => {
    const isLower = at === "/" && changes !== undefined;
    const directory = isLower ? "/lower" : `/root${at === "/" ? "" : at}`;
    const words = ["mount_disk", device, directory, type, access === "read" && !isLower ? "ro" : "rw"];
    return `${words.map(quoted).join(" ")}\n${isLower ? overlay(changes) : ""}`;
  });
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo; echo '${UP}'

# Firmware may have begun a line.
report() { sync; { echo; echo "$*"; } >/dev/ttyS1; reboot -f; sleep 60; }
fail() { report "failed $*"; }

made=
directory() {
  [ -z "$1" ] || [ -d "$1" ] && return
  directory "\${1%/*}"
  mkdir "$1" || fail "cannot make \${1#/root}"
  made="$1 $made"
}
mount_disk() {
  tries=0
  while [ ! -b "$1" ]; do
    [ $tries = 50 ] && fail "there is no $1"
    tries=$((tries + 1))
    sleep 0.1
  done
  directory "$2"
  mount -t "$3" -o "$4" "$1" "$2" || fail "cannot mount $1 ($3) at $2"
}

for module in /modules/*; do insmod "$module" || echo "[vm] cannot insert \${module##*/}"; done
${lines.join("")}for name in dev proc sys tmp; do directory /root/$name; done
mount -t devtmpfs devtmpfs /root/dev || fail "cannot mount /dev"
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
${efiVariables ? EFI_VARIABLES : ""}mount -t tmpfs -o mode=1777 tmpfs /root/tmp
cp /job/script /root${SCRIPT} || fail "cannot copy the script"

env -i ${environment.join(" ")} ${place === "root" ? `chroot /root ${SCRIPT}` : "/job/script"} </dev/null
status=$?
kill -9 -1
rm -f /root${SCRIPT}
sync
set -- $(stat -f -c '%f %S %d' /root)
for at in $(awk '$2 ~ "^/root/" { print $2 }' /proc/mounts | sort -r); do umount "$at" || umount -l "$at"; done
for each in $made; do rmdir "$each" 2>/dev/null; done
${changes === undefined ? "" : archive(changes)}umount /root || mount -o remount,ro /root
report "ended $status $(($1 * $2)) $3"
`;
}

const EFI_VARIABLES =
  'mount -t efivarfs efivarfs /root/sys/firmware/efi/efivars || fail "cannot mount the variables of UEFI"\n';

/** Mounts the root so that what is written is in a directory of its own. Nothing of it depends on how the kernel was configured. */
function overlay({ upper }: KeptChanges): string {
  const options = "redirect_dir=off,metacopy=off,index=off,xino=off";
  return `rmdir /lower/lost+found 2>/dev/null
mount -o remount,ro /lower
mount_disk ${quoted(upper)} /upper ext4 rw
mkdir /upper/root /upper/work || fail "cannot write to ${upper}"
chown "$(stat -c %u:%g /lower)" /upper/root
chmod "$(stat -c %a /lower)" /upper/root
mount -t overlay -o lowerdir=/lower,upperdir=/upper/root,workdir=/upper/work,${options} overlay /root || fail "cannot mount an overlay"
`;
}

function archive(changes: KeptChanges): string {
  const { names, root } = CHANGES;
  return `if [ $status = 0 ]; then
  mkdir -p /out/${root}
  mount -o bind /upper/root /out/${root}
  cd /upper/root && find . -type d -print0 >/directories || fail "cannot list what changed"
  cd /root && xargs -0 sh -c 'find "$@" -mindepth 1 -maxdepth 1 -print0' - </directories >/out/${names} || fail "cannot list what is there"
  cd /out && tar -c -f ${quoted(changes.archive)} ${names} ${root} || fail "cannot keep what changed"
  cd /
fi
`;
}

/** A word for a shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
