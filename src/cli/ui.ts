import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { fdSink, OciNixError } from "../index.js";
import { type FlagValues, text } from "./command.js";

const STDERR = 2;

/** Writes to standard error, whole; a reader that went away is no reason to fail. */
export function printError(line: string): void {
  writeError(`${line}\n`);
}

function writeError(text: string): void {
  try {
    writeSync(STDERR, text);
  } catch {
    // Nowhere left to say it.
  }
}

/** Prints an error: one line, with its hint on a second one; under `--json` one object `{code, message, hint}`. */
export function reportError(error: unknown, flags: FlagValues): void {
  const known = error instanceof OciNixError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (flags.json === true) {
    printError(JSON.stringify({ code: known?.code ?? "internal", message, hint: known?.hint }));
    return;
  }
  const label = useColor(flags) ? "\x1b[1;31merror:\x1b[0m" : "error:";
  const lines = message.split("\n").map((line) => line.trim());
  const oneLine = visible(lines.filter((line) => line !== "").join(" "));
  printError(known === undefined ? `${label} internal error: ${oneLine}` : `${label} ${oneLine}`);
  if (known?.hint !== undefined) printError(`  hint: ${visible(known.hint)}`);
  if (known === undefined) {
    printError("  hint: this is a defect of oci-nix; please report it, with --verbose for more");
    if (flags.verbose === true && error instanceof Error) printError(error.stack ?? "");
  }
}

/** Control characters, which file names and inputs may hold, shown rather than sent to the terminal. */
export function visible(message: string): string {
  return message.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function useColor(flags: FlagValues): boolean {
  const mode = text(flags, "color") ?? "auto";
  if (mode !== "auto") return mode === "always";
  return isatty(STDERR) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}

/** `1.5 MB`: decimal units, as registries and docker count. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** What a progress display reads. */
export interface ProgressState {
  /** Layer being written, from 1, and how many there are. */
  layer: number;
  layers: number;
  readonly counts: { bytes: number; entries: number };
}

/** Shows progress until stopped: one line redrawn on a terminal, a plain line every five seconds elsewhere. */
export function showProgress(state: ProgressState, flags: FlagValues): () => void {
  const mode = text(flags, "progress") ?? (flags.json === true ? "none" : "auto");
  if (mode === "none" || flags.quiet === true) return () => undefined;
  const redraw = mode === "auto" && isatty(STDERR) && process.env.TERM !== "dumb";
  const start = performance.now();
  const line = () => {
    const seconds = (performance.now() - start) / 1000;
    const { bytes, entries } = state.counts;
    return `layer ${state.layer} of ${state.layers}, ${entries} entries, ${formatBytes(bytes)}, ${formatBytes(Math.round(bytes / seconds))}/s`;
  };
  const timer = setInterval(
    () => {
      if (redraw) writeError(`\r\x1b[2K${line()}`);
      else printError(line());
    },
    redraw ? 100 : 5000,
  );
  return () => {
    clearInterval(timer);
    if (redraw) writeError("\r\x1b[2K");
  };
}

/** Writes a result to standard output, whole. @throws OciNixError `output` */
export async function printOutput(result: string, signal: AbortSignal): Promise<void> {
  const sink = fdSink(1, "standard output", signal);
  try {
    await sink.write(Buffer.from(result));
  } finally {
    sink.close();
  }
}

/** Shows which step is being done: each in a line where more is to be said, and every five seconds how far it is. */
export function showSteps(flags: FlagValues): {
  readonly progress: { bytes: number; entries: number };
  onStep(step: string): void;
  stop(): void;
} {
  const progress = { bytes: 0, entries: 0 };
  const isQuiet = flags.quiet === true || flags.json === true || text(flags, "progress") === "none";
  let current: string | undefined;
  const line = () => {
    if (current === undefined || isQuiet) return;
    const { entries, bytes } = progress;
    const counts = [...(entries === 0 ? [] : [`${entries} entries`]), ...(bytes === 0 ? [] : [formatBytes(bytes)])];
    printError(counts.length === 0 ? current : `${current}: ${counts.join(", ")}`);
  };
  const timer = setInterval(line, 5000);
  return {
    progress,
    onStep(step) {
      current = step;
      progress.entries = 0;
      progress.bytes = 0;
      if (flags.verbose === true) line();
    },
    stop: () => clearInterval(timer),
  };
}
