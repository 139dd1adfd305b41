import type { Finding } from "../examine/findings.js";
import { DiskTools } from "./tools.js";
import { type VerifiedDisk, verifyDisk } from "./verify.js";
import { type BootResult, checkBoot } from "./vm/boot-check.js";

/** What boots a machine. */
export type Firmware = "bios" | "uefi";

/** How a disk image is checked. */
export interface VerifyDiskOptions {
  /** By which firmware it is booted, once it is sound, and what has to show on its serial console. */
  readonly boot?:
    | { readonly firmware: readonly Firmware[]; readonly line: string; readonly deadlineMs: number }
    | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Is told that a step begins. */
  readonly onStep?: ((step: string) => void) | undefined;
  /** Given what the serial console shows, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}

/** What was found of a disk image, and how it booted. */
export interface VerifiedImage extends VerifiedDisk {
  readonly boots: readonly (Omit<BootResult, "log"> & { readonly firmware: Firmware })[];
  /** Program → version. */
  readonly checkedWith: Readonly<Record<string, string>>;
}

/**
 * Looks whether a disk image is sound, and whether it boots. The image is not changed.
 * @throws OciNixError as `verifyDisk` and `checkBoot`
 */
export async function verifyDiskImage(file: string, options: VerifyDiskOptions = {}): Promise<VerifiedImage> {
  const { boot, signal, onStep, onLine } = options;
  const tools = new DiskTools({ signal });
  try {
    const disk = await verifyDisk(file, tools, onStep);
    const boots: VerifiedImage["boots"][number][] = [];
    const failures: Finding[] = [];
    for (const firmware of disk.valid ? (boot?.firmware ?? []) : []) {
      const { line = "", deadlineMs = 0 } = boot ?? {};
      onStep?.(`booting it by ${firmware}`);
      const check = { firmware, line, deadlineMs, format: disk.format, signal, onLine };
      const { log, ...result } = await checkBoot(file, check, tools);
      boots.push({ firmware, ...result });
      if (!result.booted) failures.push(notBooted(firmware, line, { ...result, log }));
    }
    const checkedWith = Object.fromEntries(tools.versions);
    const findings = [...disk.findings, ...failures];
    return { ...disk, valid: disk.valid && failures.length === 0, findings, boots, checkedWith };
  } finally {
    tools.close();
  }
}

/** How much of what the console said last is shown. */
const LAST_LINES = 3;

function notBooted(firmware: Firmware, line: string, { end, seconds, log }: BootResult): Finding {
  const last = log
    .split("\n")
    .map((each) => each.trim())
    .filter((each) => each !== "")
    .slice(-LAST_LINES);
  const words =
    last.length === 0 ? "the serial console said nothing" : `the serial console said last: ${last.join(" | ")}`;
  const message = `${JSON.stringify(line)} did not show within ${Math.round(seconds)} s (${end}); ${words}`;
  return { severity: "error", code: "boot", where: firmware, message };
}
