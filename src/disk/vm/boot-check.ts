import { join } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { openForReading } from "../../core/file-range.js";
import type { DiskTools } from "../tools.js";
import type { LinePattern } from "./console.js";
import { findUefiFirmware, type UefiFirmware, uefiArguments } from "./firmware.js";
import { type Accelerator, type GuestDisk, type GuestEnd, runGuest } from "./qemu.js";

export interface BootCheck {
  readonly firmware: "bios" | "uefi";
  /** What shows on the serial console once it has booted. */
  readonly line: LinePattern;
  readonly deadlineMs: number;
  /** As QEMU calls it; default: raw. */
  readonly format?: string | undefined;
  /** What the disk is attached to; default: virtio. */
  readonly bus?: GuestDisk["bus"];
  /** Default: 512. */
  readonly memoryMiB?: number | undefined;
  /** Default: one that is installed. Its variables are not changed. */
  readonly uefi?: UefiFirmware | undefined;
  readonly accelerators?: readonly Accelerator[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Given what the console shows, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface BootResult {
  readonly booted: boolean;
  /** From the start of the machine to the line, or to its end. */
  readonly seconds: number;
  /** Why it was ended, or how it ended by itself: `line` where it booted. */
  readonly end: GuestEnd["kind"];
  readonly accelerator: Accelerator;
  /** What the serial console showed. */
  readonly log: string;
}

/** SeaBIOS says who it is at once; OVMF takes a few seconds. */
const HEARTBEAT_MS = 15_000;
const DEFAULT_MEMORY_MIB = 512;

/**
 * Boots a disk image in a virtual machine and waits for a line on its serial console. The image is not written to. One that does not boot is a
 * result.
 * @throws OciNixError `not-found` naming the packages of what is missing; `unreadable`; `invalid-input` where QEMU does not start or is killed;
 *   the signal's reason
 */
export async function checkBoot(file: string, check: BootCheck, tools: DiskTools): Promise<BootResult> {
  openForReading(file).close();
  const {
    firmware,
    line,
    deadlineMs,
    format,
    bus,
    memoryMiB = DEFAULT_MEMORY_MIB,
    accelerators,
    signal,
    onLine,
  } = check;
  const { end, accelerator, log, seconds } = await runGuest(
    {
      memoryMiB,
      disks: [{ file, format, bus, access: "discard" }],
      start:
        firmware === "bios"
          ? []
          : uefiArguments(findUefiFirmware(check.uefi), join(tools.directory, "uefi-variables.fd")),
      deadlineMs,
      heartbeat: { line: () => true, withinMs: HEARTBEAT_MS },
      until: line,
      accelerators,
      signal,
      onLine,
    },
    tools,
  );
  if (end.kind === "killed") {
    throw new OciNixError("invalid-input", `QEMU was killed (${end.signal}) while it booted ${file}`);
  }
  return { booted: end.kind === "line", seconds, end: end.kind, accelerator, log };
}
