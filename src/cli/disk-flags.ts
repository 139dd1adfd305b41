import type { Flags } from "./command.js";

/** What is on a disk, and where its image goes. */
export const DISK_FLAGS: Flags = {
  to: {
    type: "string",
    names: "path",
    describe: "Write to FILE, which appears whole, or to DIRECTORY by the spec's baseName",
  },
  format: {
    type: "string",
    choices: ["raw", "qcow2", "qcow2-compressed", "vdi", "vpc", "vmdk", "vhdx"],
    describe: "Format of the file (default raw)",
  },
  table: {
    type: "string",
    choices: ["none", "legacy", "legacy+gpt", "legacy+boot", "efi", "efixbootldr", "hybrid"],
    describe: "Partition table (default legacy)",
  },
  size: { type: "string", describe: "Size of the disk in MiB, or auto (default auto)" },
  minimise: { type: "boolean", describe: "Make an automatic size the smallest that holds all" },
  label: { type: "string", describe: "Label of the root file system (default nixos)" },
  "from-image": { type: "string", names: "place", describe: "Take the root file system of the image at this place" },
};

/** How a disk image is checked. */
export const DISK_VERIFY_FLAGS: Flags = {
  boot: { type: "string", repeated: true, choices: ["bios", "uefi"], describe: "Boot it in QEMU by this firmware" },
  line: { type: "string", describe: "What has to show on its serial console" },
  deadline: { type: "number", describe: "Seconds that it may take to boot (default 300)" },
};
