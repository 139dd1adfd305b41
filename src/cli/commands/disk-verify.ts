import { type Firmware, OciNixError, type VerifiedImage, verifyDiskImage } from "../../index.js";
import { type Invocation, list, number, text } from "../command.js";
import { printError, printOutput, showSteps, visible } from "../ui.js";

/** Slow machines emulate others a hundred times slower than they are. */
const DEFAULT_DEADLINE_S = 300;

/** Looks whether a disk image is sound, and whether it boots. @throws OciNixError `verification` where it is not */
export default async function verify({ inputs, flags, signal }: Invocation): Promise<void> {
  const [file, ...others] = inputs;
  if (file === undefined || others.length > 0) {
    throw new OciNixError("usage", `one disk image must be named, not ${inputs.length}`, {
      hint: "oci-nix disk verify nixos.img",
    });
  }
  const firmware = list(flags, "boot") as readonly Firmware[] | undefined;
  const line = text(flags, "line");
  if ((firmware === undefined) !== (line === undefined)) {
    throw new OciNixError("usage", "--boot and --line go together", {
      hint: "--boot bios --line login: boots it, and waits for that line on its serial console",
    });
  }
  if (line?.trim() === "") {
    throw new OciNixError("usage", "--line is empty", { hint: "every console shows that; --line login:" });
  }
  if (firmware === undefined && flags.deadline !== undefined) {
    throw new OciNixError("usage", "--deadline is that of --boot, which is not given", {
      hint: "--boot bios --line login: --deadline 600",
    });
  }
  const deadlineMs = (number(flags, "deadline") ?? DEFAULT_DEADLINE_S) * 1000;
  const boot = firmware === undefined || line === undefined ? undefined : { firmware, line, deadlineMs };
  const onLine = (each: string) => {
    if (flags.verbose === true && flags.json !== true) printError(visible(each));
  };
  const steps = showSteps(flags);
  const verified = await verifyDiskImage(file, { boot, signal, onStep: steps.onStep, onLine }).finally(steps.stop);
  const report = flags.json === true ? `${JSON.stringify(verified, undefined, 2)}\n` : describe(file, verified);
  await printOutput(report, signal);
  if (verified.valid) return;
  const errors = verified.findings.filter(({ severity }) => severity === "error").length;
  throw new OciNixError("verification", `${file} is not valid: ${errors} ${errors === 1 ? "error" : "errors"}`);
}

function describe(file: string, verified: VerifiedImage): string {
  const { format, size, label, partitions, fileSystem, findings, boots, valid } = verified;
  const lines = findings.map(
    ({ severity, where, message, code }) => `${severity.padEnd(7)}  ${where}: ${message} [${code}]`,
  );
  const table = label === undefined ? `no table, ${fileSystem ?? "no file system"}` : `table ${label}`;
  const disk = size === undefined ? "" : `, a disk of ${formatSize(size)}, ${table}`;
  lines.push(`${file}: ${valid ? "valid" : "not valid"}: ${format}${disk}`);
  for (const each of partitions) {
    lines.push(
      `  partition ${each.number}: ${formatSize(each.size)} at ${formatSize(each.start)}, ${each.fileSystem ?? "no file system"}`,
    );
  }
  for (const { firmware, booted, seconds, accelerator } of boots) {
    lines.push(`  ${booted ? "boots" : "does not boot"} by ${firmware}: ${seconds.toFixed(1)} s (${accelerator})`);
  }
  return lines.map((each) => `${visible(each)}\n`).join("");
}

function formatSize(bytes: number): string {
  const mib = bytes / 2 ** 20;
  if (Number.isInteger(mib)) return `${mib} MiB`;
  if (mib > 1) return `${mib.toFixed(2)} MiB`;
  return bytes === 1 ? "1 byte" : `${bytes} bytes`;
}
