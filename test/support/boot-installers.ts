import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { debianKernel } from "./boot-disks.js";
import type { RealStore } from "./real-store.js";

/** Scripts for `/etc/boot-installer` of the store's system. They begin by copying kernel and initrd to `/boot`. */
const COPY = `mkdir -p /boot
cp /etc/test-kernel /boot/vmlinuz
cp /etc/test-initrd /boot/initrd.img
`;

const GRUB_CONFIG = `at=$(grub-mkrelpath /boot)
cat >/boot/grub/grub.cfg <<END
set timeout=0
linux $at/vmlinuz console=ttyS0 quiet
initrd $at/initrd.img
boot
END
`;

/** By another name of the disk, as configurations have them. */
const GRUB_BIOS =
  "grub-install --target=i386-pc --directory=$grub/usr/lib/grub/i386-pc --boot-directory=/boot /dev/sda\n";

const GRUB_EFI = `grub-install --target=x86_64-efi --directory=$grub_efi/usr/lib/grub/x86_64-efi --boot-directory=/boot \\
  --efi-directory=/boot --removable --no-nvram
`;

const BOOTCTL = `mkdir -p /usr/lib/systemd
ln -s $systemd_boot/usr/lib/systemd/boot /usr/lib/systemd/boot
if [ -d /efi ]; then bootctl --esp-path=/efi --boot-path=/boot install; else bootctl --esp-path=/boot install; fi
cat >>/boot/loader/entries/test.conf <<END
title Test
machine-id $(cat /etc/machine-id)
linux /vmlinuz
initrd /initrd.img
options console=ttyS0 quiet
END
`;

export const INSTALLERS = {
  "grub for BIOS": COPY + GRUB_BIOS + GRUB_CONFIG,
  "grub for both": COPY + GRUB_BIOS + GRUB_EFI + GRUB_CONFIG,
  "systemd-boot": `${COPY}mkdir -p /boot/loader/entries\n${BOOTCTL}`,
} as const;

/**
 * The spec of a disk on which the store's system installs its boot loader by a script.
 * @param where a directory for the script's file
 */
export function installedSpec(
  { storeRoot, toplevel }: RealStore,
  where: string,
  { script, initrd, contents = [], ...rest }: InstalledSpec,
): object {
  const installer = join(where, "installer");
  writeFileSync(installer, script);
  return {
    closure: { storeRoot },
    toplevel,
    installBootLoader: true,
    additionalSpace: "16M",
    bootSize: "128M",
    contents: [
      { source: installer, target: "/etc/boot-installer", mode: "0644" },
      { source: debianKernel(), target: "/etc/test-kernel", mode: "0644" },
      { source: initrd, target: "/etc/test-initrd", mode: "0644" },
      ...contents,
    ],
    ...rest,
  };
}

interface InstalledSpec extends Readonly<Record<string, unknown>> {
  readonly script: string;
  readonly initrd: string;
  readonly contents?: readonly object[];
}
