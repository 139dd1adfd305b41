import { copyFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { findOnPath } from "../../core/process.js";
import { qemuOption } from "./qemu.js";

/** UEFI for a guest: its program, and the variables that it starts with. Files of this machine. */
export interface UefiFirmware {
  readonly code: string;
  readonly variables: string;
}

/** Debian and Ubuntu; Fedora; Arch; NixOS with libvirt. */
const PLACES: readonly (readonly [directory: string, code: string, variables: string])[] = [
  ["/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"],
  ["/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"],
  ["/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"],
  ["/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"],
  ["/run/libvirt/nix-ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"],
];

/** The one that QEMU of nixpkgs has with it. */
const OF_QEMU = ["edk2-x86_64-code.fd", "edk2-i386-vars.fd"] as const;

/**
 * The firmware that is given, or one that is installed.
 * @throws OciNixError `not-found` naming packages
 */
export function findUefiFirmware(given?: UefiFirmware): UefiFirmware {
  const found = given === undefined ? places() : [given];
  const there = found.find(({ code, variables }) => existsSync(code) && existsSync(variables));
  if (there !== undefined) return there;
  const where = given === undefined ? "" : `: there is no ${existsSync(given.code) ? given.variables : given.code}`;
  throw new OciNixError("not-found", `there is no UEFI firmware for the virtual machine${where}`, {
    hint: "install the Debian package ovmf, or name the files OVMF_CODE.fd and OVMF_VARS.fd of OVMF.fd of nixpkgs",
  });
}

function places(): readonly UefiFirmware[] {
  const qemu = findOnPath("qemu-system-x86_64");
  const own = qemu === undefined ? [] : [[join(dirname(qemu), "../share/qemu"), ...OF_QEMU] as const];
  return [...PLACES, ...own].map(([directory, code, variables]) => ({
    code: join(directory, code),
    variables: join(directory, variables),
  }));
}

/**
 * Arguments of QEMU for a guest that starts by this firmware.
 * @param copy a new file, to which the guest's variables are written
 * @throws OciNixError `unreadable`
 */
export function uefiArguments({ code, variables }: UefiFirmware, copy: string): readonly string[] {
  try {
    copyFileSync(variables, copy);
  } catch (error) {
    throw new OciNixError("unreadable", `cannot copy ${variables}: ${describeErrno(error)}`, { cause: error });
  }
  const flash = { if: "pflash", format: "raw" };
  return [
    ...["-drive", qemuOption({ ...flash, unit: "0", readonly: "on", file: code })],
    ...["-drive", qemuOption({ ...flash, unit: "1", file: copy })],
  ];
}
