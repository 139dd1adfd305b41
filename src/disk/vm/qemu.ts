import { accessSync, constants } from "node:fs";
import { resolve } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { DiskTools } from "../tools.js";
import { GuestConsole, type LinePattern } from "./console.js";

/** What runs the guest's instructions: the processor, or QEMU's emulator, which is always there and slower. */
export type Accelerator = "kvm" | "tcg";

/** A disk of the guest: `/dev/vda`, `/dev/vdb`, … in their order, if of virtio. */
export interface GuestDisk {
  readonly file: string;
  /** As QEMU calls it; default: raw. */
  readonly format?: string | undefined;
  /** `discard`: what the guest writes is kept nowhere. */
  readonly access: "write" | "read" | "discard";
  /** What it is attached to; default: virtio. */
  readonly bus?: "virtio" | "ahci" | "nvme" | undefined;
}

interface Guest {
  readonly memoryMiB: number;
  readonly disks: readonly GuestDisk[];
  /** What it starts from, a kernel or firmware, and other devices: arguments of QEMU. */
  readonly start: readonly string[];
  /** From the start of the guest to its end. */
  readonly deadlineMs: number;
  /** A guest that does not show this line is none, and KVM is given up. */
  readonly heartbeat: { readonly line: LinePattern; readonly withinMs: number };
  /** The guest is ended once it shows this line. */
  readonly until?: LinePattern | undefined;
  /** Which to try, one after the other; default: KVM where it can be opened, then TCG. */
  readonly accelerators?: readonly Accelerator[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onLine?: ((line: string) => void) | undefined;
}

/** How a guest ended. */
export type GuestEnd =
  /** It showed the line it was to show. */
  | { readonly kind: "line" }
  | { readonly kind: "panic" }
  /** It turned itself off, or began anew. */
  | { readonly kind: "off" }
  /** It did not end within its deadline; how long it had said nothing then. */
  | { readonly kind: "hang"; readonly silentMs: number }
  /** Somebody ended QEMU. */
  | { readonly kind: "killed"; readonly signal: NodeJS.Signals };

export interface GuestResult {
  readonly end: GuestEnd;
  readonly accelerator: Accelerator;
  /** What the serial console showed. */
  readonly log: string;
  /** From the start of QEMU, with the accelerator that was used. */
  readonly seconds: number;
}

const KVM = "/dev/kvm";
/** Where it was found out that KVM does not work, which may have taken as long as a heartbeat. */
const WITHOUT_KVM = new WeakSet<DiskTools>();
/** A kernel's last words begin so. */
export const PANIC = "Kernel panic - not syncing";
/** What a kernel says of its panic takes so long at most. */
const PANIC_MS = 2000;
const LAST_CHARACTERS = 2000;

/**
 * Runs a virtual machine to its end, without network, clock or anything else of this machine but its disks.
 * @throws OciNixError `not-found` where QEMU is missing; `invalid-input` with its words where it does not start; the signal's reason
 */
export async function runGuest(guest: Guest, tools: DiskTools): Promise<GuestResult> {
  const accelerators = guest.accelerators ?? (canOpen(KVM) && !WITHOUT_KVM.has(tools) ? ["kvm", "tcg"] : ["tcg"]);
  for (const [index, accelerator] of accelerators.entries()) {
    const { result, failure, hasBegun } = await attempt(guest, accelerator, tools);
    const isLast = index === accelerators.length - 1;
    if (result !== undefined && (hasBegun || isLast)) return result;
    if (isLast) throw failure;
    WITHOUT_KVM.add(tools);
  }
  throw new Error("no accelerator");
}

interface Attempt {
  readonly result?: GuestResult;
  /** Why QEMU itself failed. */
  readonly failure?: OciNixError;
  readonly hasBegun: boolean;
}

async function attempt(guest: Guest, accelerator: Accelerator, tools: DiskTools): Promise<Attempt> {
  const { deadlineMs, heartbeat, until, signal, onLine } = guest;
  if (signal?.aborted) throw abortReason(signal);
  const started = performance.now();
  const stop = new AbortController();
  let ours: GuestEnd | undefined;
  const stopAs = (end: GuestEnd) => {
    ours ??= end;
    stop.abort(ours);
  };
  const screen = new GuestConsole(onLine);
  const hang = () => stopAs({ kind: "hang", silentMs: performance.now() - (screen.lastAt ?? started) });
  const timers = [setTimeout(hang, deadlineMs)];
  let hasBegun = false;
  if (accelerator === "kvm") {
    timers.push(setTimeout(() => hasBegun || hang(), heartbeat.withinMs));
  }
  screen.watch(heartbeat.line, () => {
    hasBegun = true;
  });
  screen.watch(PANIC, () => timers.push(setTimeout(() => stopAs({ kind: "panic" }), PANIC_MS)));
  if (until !== undefined) screen.watch(until, () => stopAs({ kind: "line" }));
  let words = "";
  const onOutput = (stream: "stdout" | "stderr", bytes: Uint8Array) => {
    if (stream === "stdout") screen.write(bytes);
    else words = (words + Buffer.from(bytes).toString("utf8")).slice(-LAST_CHARACTERS);
  };
  const signals = AbortSignal.any(signal === undefined ? [stop.signal] : [signal, stop.signal]);
  const finish = (end: GuestEnd): Attempt => {
    const seconds = (performance.now() - started) / 1000;
    return { result: { end, accelerator, log: screen.log, seconds }, hasBegun };
  };
  try {
    const args = qemuArguments(guest, accelerator);
    const status = await tools.talk("qemu-system-x86_64", args, { onOutput, signal: signals });
    const end = endOf(status, screen.log);
    if (end !== undefined) return finish(end);
    const how = typeof status === "number" ? `exit ${status}` : status;
    const failure = new OciNixError("invalid-input", `qemu-system-x86_64 failed (${how}): ${words.trim()}`);
    return { failure, hasBegun };
  } catch (error) {
    if (ours === undefined || signal?.aborted) throw error;
    return finish(ours);
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Undefined where QEMU itself failed. */
function endOf(status: number | NodeJS.Signals, log: string): GuestEnd | undefined {
  // An assertion of its own.
  if (status === "SIGABRT") return undefined;
  if (typeof status !== "number") return { kind: "killed", signal: status };
  if (status !== 0) return undefined;
  return { kind: log.includes(PANIC) ? "panic" : "off" };
}

function qemuArguments(guest: Guest, accelerator: Accelerator): readonly string[] {
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none"],
    ...["-machine", `q35,accel=${accelerator},graphics=off`, "-cpu", "max", "-m", `${guest.memoryMiB}`],
    ...["-serial", "stdio", "-rtc", "base=1970-01-02T00:00:00,clock=vm"],
    ...guest.start,
    ...guest.disks.flatMap(diskArguments),
  ];
}

const DEVICES = { virtio: "virtio-blk-pci", ahci: "ide-hd", nvme: "nvme" } as const;

function diskArguments({ file, format = "raw", access, bus = "virtio" }: GuestDisk, index: number): readonly string[] {
  const id = `disk${index}`;
  const values = {
    file: resolve(file),
    format,
    if: "none",
    id,
    // What is kept of it is kept by this machine's memory: a crash of it spoils a result that is not there yet.
    cache: "unsafe",
    // Else a full disk would stop the guest for ever.
    werror: access === "read" ? undefined : "report",
    readonly: access === "read" ? "on" : undefined,
    snapshot: access === "discard" ? "on" : undefined,
  };
  const serial = bus === "nvme" ? `,serial=${id}` : "";
  const place = bus === "ahci" ? `,bus=ide.${index}` : "";
  return [
    "-drive",
    qemuOption(values),
    "-device",
    `${DEVICES[bus]},drive=${id},bootindex=${index + 1}${serial}${place}`,
  ];
}

/** QEMU ends a value at a comma, unless there are two. */
export function qemuOption(values: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(values)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value.replaceAll(",", ",,")}`]))
    .join(",");
}

function canOpen(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
