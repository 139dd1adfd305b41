import { readFileSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { type UefiFirmware, uefiArguments } from "./firmware.js";
import { type GuestMount, type InitOptions, initScript, parseReport, type ScriptEnd, UP } from "./init.js";
import { makeInitramfs } from "./initramfs.js";
import { findGuestSystem, type GivenSystem } from "./kernel.js";
import { type Accelerator, type GuestDisk, type GuestResult, PANIC, qemuOption, runGuest } from "./qemu.js";

/** What is done in a virtual machine, as root. With `changes`, the root is not changed. */
export interface Job extends Pick<InitOptions, "changes" | "place"> {
  readonly disks: readonly Omit<GuestDisk, "bus">[];
  /** The first one is the job's root; `/dev`, `/proc`, `/sys` and a `/tmp` that is not kept are mounted besides. */
  readonly mounts: readonly GuestMount[];
  /** Without a line `#!` it is run by the `/bin/sh` of where it runs. Its environment is fixed, and it has no standard input. */
  readonly script: string;
  readonly memoryMiB: number;
  readonly deadlineMs: number;
  /** Starts the guest by UEFI, whose variables the script may change. The file is a copy of theirs, made for it. */
  readonly uefi?: { readonly firmware: UefiFirmware; readonly file: string } | undefined;
  /** What helps where a disk of the guest is full. */
  readonly whenFull?: string | undefined;
  /** What is not given is taken from installed packages. */
  readonly system?: GivenSystem | undefined;
  readonly accelerators?: readonly Accelerator[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Given what the console shows, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface JobResult {
  /** The exit status of the script. */
  readonly status: number;
  readonly accelerator: Accelerator;
  /** What the serial console showed: the script's output, and what the kernel found worth a word. */
  readonly log: string;
  readonly seconds: number;
}

/** KVM that works takes a second. */
const HEARTBEAT_MS = 15_000;
const NO_SPACE = "No space left on device";
/** A file system with less is full. Bytes. */
const FULL = 64 * 1024;
const LAST_LINES = 8;
const HOST_FULL = 1024 * 1024;

/**
 * Runs a script as root in a virtual machine on given disks. One that fails is a result, unless it failed as there was no space.
 * @throws OciNixError `not-found` naming the packages of what is missing; `limit` where it does not end within its deadline, or a disk of the
 *   guest is full; `output` where this machine's disk is; `invalid-input` where the guest's kernel panics, it turns itself off, QEMU does not
 *   start or is killed, disks cannot be mounted; the signal's reason. The last lines of the console are in its message.
 */
export async function runJob(job: Job, tools: DiskTools): Promise<JobResult> {
  const { disks, mounts, changes, place, uefi, script, memoryMiB, deadlineMs, accelerators, signal, onLine } = job;
  const system = findGuestSystem(job.system);
  const text = script.startsWith("#!") ? script : `#!/bin/sh\n${script}`;
  const [initramfs, report] = ["initramfs", "report"].map((name) => join(tools.directory, name)) as [string, string];
  const init = initScript(mounts, { changes, place, efiVariables: uefi !== undefined });
  const modules = uefi === undefined ? [] : ["efivarfs"];
  writeFileSync(report, "");
  writeFileSync(initramfs, await makeInitramfs(system, { init, files: { script: text }, modules }, signal));
  const result = await runGuest(
    {
      memoryMiB,
      disks,
      start: [
        ...(uefi === undefined ? [] : uefiArguments(uefi.firmware, uefi.file)),
        ...["-kernel", resolve(system.kernel), "-initrd", initramfs, "-append", COMMAND_LINE],
        ...["-chardev", `file,${qemuOption({ id: "report", path: report })}`, "-serial", "chardev:report"],
      ],
      deadlineMs,
      heartbeat: { line: UP, withinMs: HEARTBEAT_MS },
      accelerators,
      signal,
      onLine,
    },
    tools,
  );
  return jobResult(job, result, parseReport(readFileSync(report, "utf8")));
}

/** A panic ends the guest, and there is no waiting for chance. */
const COMMAND_LINE = "console=ttyS0 panic=-1 quiet loglevel=4 random.trust_cpu=on";

function jobResult(job: Job, result: GuestResult, report: ReturnType<typeof parseReport>): JobResult {
  const { end, log, accelerator, seconds } = result;
  const fail = (code: "limit" | "output" | "invalid-input", what: string, hint?: string) => {
    // What follows are registers and addresses.
    const lines = log.split("\n").filter((line) => line.trim() !== "");
    const panic = lines.findIndex((line) => line.includes(PANIC));
    const last = panic === -1 ? lines : lines.slice(0, panic + 1);
    const shown = last.length === 0 ? "it showed nothing" : `its last lines:\n${last.slice(-LAST_LINES).join("\n")}`;
    return new OciNixError(code, `the virtual machine: ${what}; ${shown}`, hint === undefined ? {} : { hint });
  };
  const ended = report !== undefined && "status" in report ? report : undefined;
  if (end.kind === "off" && ended?.status === 0) return { status: 0, accelerator, log, seconds };
  const host = fullDirectory(job.disks);
  if (host !== undefined) throw fail("output", `there is no space left in ${host}, where its disk is`);
  if (end.kind === "hang") {
    const silent = Math.round(end.silentMs / 1000);
    const what = `it did not end within ${job.deadlineMs / 1000} s, and had been silent for ${silent} s`;
    throw fail("limit", what, log.includes(UP) ? undefined : "its kernel did not start, or has no serial console");
  }
  if (end.kind === "panic") {
    throw fail("invalid-input", "its kernel panicked", "it may need more memory, or another kernel");
  }
  if (end.kind === "killed") throw fail("invalid-input", `QEMU was killed (${end.signal})`);
  if (ended === undefined) {
    const reason = report !== undefined && "failure" in report ? report.failure : "it turned itself off";
    throw fail("invalid-input", `${reason}, before the script had ended`);
  }
  if (isFull(ended) || log.includes(NO_SPACE)) {
    const { whenFull = "make the disk larger" } = job;
    throw fail("limit", `its disk is full, and the script failed (exit ${ended.status})`, whenFull);
  }
  return { status: ended.status, accelerator, log, seconds };
}

function isFull({ free, freeInodes }: ScriptEnd): boolean {
  return free < FULL || freeInodes === 0;
}

/** The first directory of a disk that is written to where this machine has no space left. */
function fullDirectory(disks: Job["disks"]): string | undefined {
  return disks
    .filter(({ access }) => access === "write")
    .map(({ file }) => dirname(resolve(file)))
    .find((directory) => {
      const { bavail, bsize } = statfsSync(directory);
      return bavail * bsize < HOST_FULL;
    });
}
