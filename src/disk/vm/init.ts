/** A file system of the guest's disks. */
export interface GuestMount {
  /** As the guest calls it: `/dev/vda`, or `/dev/vda2` for a partition. */
  readonly device: string;
  /** Where the job finds it: `/` for the first one, which is the job's root. */
  readonly at: string;
  readonly type: "ext4" | "vfat";
  readonly access: "write" | "read";
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
export function initScript(mounts: readonly GuestMount[]): string {
  const environment = Object.entries(ENVIRONMENT).map(([name, value]) => quoted(`${name}=${value}`));
  const lines = mounts.map(({ device, at, type, access }) =>
    ["mount_disk", device, at === "/" ? "" : at, type, access === "read" ? "ro" : "rw"].map(quoted).join(" "),
  );
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo; echo '${UP}'

report() { sync; echo "$*" >/dev/ttyS1; reboot -f; sleep 60; }
fail() { report "failed $*"; }

made=
directory() {
  [ -d "$1" ] && return
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
  [ -z "$2" ] || directory "/root$2"
  mount -t "$3" -o "$4" "$1" "/root$2" || fail "cannot mount $1 ($3) at $2/"
}

for module in /modules/*; do insmod "$module" || echo "[vm] cannot insert \${module##*/}"; done
${lines.join("\n")}
for name in dev proc sys tmp; do directory /root/$name; done
mount -t devtmpfs devtmpfs /root/dev || fail "cannot mount /dev"
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t tmpfs -o mode=1777 tmpfs /root/tmp
cp /job/script /root${SCRIPT} || fail "cannot copy the script"

env -i ${environment.join(" ")} chroot /root ${SCRIPT} </dev/null
status=$?
kill -9 -1
rm -f /root${SCRIPT}
sync
set -- $(stat -f -c '%f %S %d' /root)
for at in $(awk '$2 ~ "^/root/" { print $2 }' /proc/mounts | sort -r); do umount "$at" || umount -l "$at"; done
for each in $made; do rmdir "$each" 2>/dev/null; done
umount /root || mount -o remount,ro /root
report "ended $status $(($1 * $2)) $3"
`;
}

/** A word for a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
