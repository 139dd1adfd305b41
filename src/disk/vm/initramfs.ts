import { readFileSync } from "node:fs";
import { CHARACTER_DEVICE, type CpioMember, cpioArchive, DIRECTORY, FILE, PROGRAM } from "./cpio.js";
import type { GuestSystem } from "./kernel.js";
import { type KernelModule, readModules } from "./kernel-modules.js";

/** What it takes to see disks and ext4; what newer kernels have no more, or name otherwise, is optional. */
const MODULES = {
  needed: ["virtio_pci", "virtio_blk", "ext4"],
  optional: ["crc32c_generic", "crc32c_cryptoapi", "overlay", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"],
};

/**
 * The first root of a guest: busybox, the modules of its kernel, and what it does. Its bytes follow from those files alone.
 * @param init a script for busybox' shell
 * @param files by name, in the directory `/job`; `modules` are optional ones besides the usual
 * @throws OciNixError as {@link readModules}
 */
export async function makeInitramfs(
  system: GuestSystem,
  {
    init,
    files,
    modules: more = [],
  }: {
    readonly init: string;
    readonly files: Readonly<Record<string, string>>;
    readonly modules?: readonly string[] | undefined;
  },
  signal?: AbortSignal,
): Promise<Buffer> {
  const wanted = { needed: MODULES.needed, optional: [...MODULES.optional, ...more] };
  const modules = await readModules(system.modules, wanted, signal);
  const directories = ["bin", "dev", "job", "modules", "proc", "root", "sys"];
  return cpioArchive([
    ...directories.map((path): CpioMember => ({ path, mode: DIRECTORY })),
    // The kernel opens it for init before anything is mounted.
    { path: "dev/console", mode: CHARACTER_DEVICE, device: { major: 5, minor: 1 } },
    { path: "bin/busybox", mode: PROGRAM, contents: readFileSync(system.busybox) },
    ...modules.map(moduleMember),
    { path: "init", mode: PROGRAM, contents: Buffer.from(init) },
    ...Object.entries(files).map(
      ([name, text]): CpioMember => ({ path: `job/${name}`, mode: PROGRAM, contents: Buffer.from(text) }),
    ),
  ]);
}

/** The number keeps the order in which they are inserted. */
function moduleMember({ name, contents }: KernelModule, index: number): CpioMember {
  return { path: `modules/${String(index).padStart(3, "0")}-${name}.ko`, mode: FILE, contents };
}
