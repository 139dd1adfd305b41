import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { findOnPath } from "../../core/process.js";

/** What the guest runs before anything of the disk. Files of this machine. */
export interface GuestSystem {
  /** A Linux kernel (bzImage). */
  readonly kernel: string;
  /** The directory with its modules: `…/lib/modules/VERSION`. */
  readonly modules: string;
  /** A static busybox. */
  readonly busybox: string;
}

/** What of it is given. */
export type GivenSystem = { readonly [Part in keyof GuestSystem]?: GuestSystem[Part] | undefined };

const HINT = {
  kernel:
    "install the Debian package linux-image-cloud-amd64, or name a kernel (bzImage) and its modules (lib/modules/VERSION) by vm.kernel and vm.modules, which linuxPackages.kernel of nixpkgs has",
  busybox: "install the Debian package busybox-static, or name that of pkgsStatic.busybox of nixpkgs by vm.busybox",
};

/** NixOS has one kernel, the running system's. */
const NIXOS = {
  kernel: "/run/current-system/kernel",
  modules: "/run/current-system/kernel-modules/lib/modules",
};

/**
 * The kernel and the busybox that are given, or those that are installed.
 * @throws OciNixError `not-found` naming packages, `unreadable`, `invalid-input` where busybox is not static, `usage` for half a kernel
 */
export function findGuestSystem(given: GivenSystem = {}): GuestSystem {
  const { kernel, modules, busybox } = given;
  if ((kernel === undefined) !== (modules === undefined)) {
    throw new OciNixError("usage", "a kernel and its modules are only given together", { hint: HINT.kernel });
  }
  const found =
    kernel === undefined || modules === undefined ? installedKernel("/boot", "/lib/modules") : { kernel, modules };
  checkReadable(found.kernel, HINT.kernel);
  return { ...found, busybox: checkedBusybox(busybox ?? findOnPath("busybox")) };
}

/** Of the kernels that have modules the newest; of one version the smallest, as distributions make some for virtual machines. */
export function installedKernel(boot: string, modules: string): Omit<GuestSystem, "busybox"> {
  const PREFIX = "vmlinuz-";
  const versions = namesIn(boot)
    .filter((name) => name.startsWith(PREFIX) && existsSync(join(modules, name.slice(PREFIX.length))))
    .map((name) => name.slice(PREFIX.length))
    .sort((a, b) => Number(b.includes("cloud")) - Number(a.includes("cloud")) || compareVersions(b, a));
  const [version] = versions;
  if (version !== undefined) return { kernel: join(boot, PREFIX + version), modules: join(modules, version) };
  const [ofNixos] = namesIn(NIXOS.modules);
  if (ofNixos !== undefined && existsSync(NIXOS.kernel)) {
    return { kernel: NIXOS.kernel, modules: join(NIXOS.modules, ofNixos) };
  }
  throw new OciNixError("not-found", `there is no kernel for the virtual machine: ${boot} has none with modules`, {
    hint: HINT.kernel,
  });
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Numbers by value, all else by code unit. */
function compareVersions(a: string, b: string): number {
  const parts = (version: string): readonly string[] => version.match(/\d+|\D+/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const [x, y] = [left[at] as string, right[at] as string];
    const order = Number(x) - Number(y) || (x < y ? -1 : x > y ? 1 : 0);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function checkReadable(file: string, hint: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new OciNixError(existsSync(file) ? "unreadable" : "not-found", `${file}: ${describeErrno(error)}`, {
      hint,
      cause: error,
    });
  }
}

const PROGRAM_HEADERS_AT = 32;
const PROGRAM_HEADER = { length: 54, count: 56 };
const INTERPRETER = 3;

/** In the guest there is no loader. */
function checkedBusybox(file: string | undefined): string {
  if (file === undefined) {
    throw new OciNixError("not-found", "busybox is not on the PATH", { hint: HINT.busybox });
  }
  checkReadable(file, HINT.busybox);
  const bytes = readFileSync(file);
  if (bytes.length < 64 || bytes.toString("latin1", 0, 4) !== "\x7fELF") {
    throw new OciNixError("invalid-input", `${file} is no program for Linux`, { hint: HINT.busybox });
  }
  const at = Number(bytes.readBigUInt64LE(PROGRAM_HEADERS_AT));
  const length = bytes.readUInt16LE(PROGRAM_HEADER.length);
  for (let index = 0; index < bytes.readUInt16LE(PROGRAM_HEADER.count); index++) {
    const header = at + index * length;
    if (header + 4 > bytes.length) break;
    if (bytes.readUInt32LE(header) !== INTERPRETER) continue;
    throw new OciNixError(
      "invalid-input",
      `${file} is not static: it needs libraries, which the virtual machine has not`,
      {
        hint: HINT.busybox,
      },
    );
  }
  return file;
}
