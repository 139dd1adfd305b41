import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";
import {
  end,
  findOnPath,
  LAST_BYTES,
  notOnPath,
  ownEnvironment,
  type ProgramResult,
  startError,
  type Tool,
} from "./process.js";

/** How {@link runTalking} runs a program. */
export interface TalkingOptions {
  readonly signal?: AbortSignal | undefined;
  /** Is given all that it says, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
  /** Everything that reaches it; by default PATH. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Open files that it has as descriptors, from 3. */
  readonly descriptors?: readonly number[] | undefined;
}

/**
 * Runs a program that may say much and take long, whose words are for people: standard output and standard error together. It reads nothing, and
 * no more of the caller's environment than PATH reaches it. One that fails is a result. Where it is given up, it and all that it started in its
 * process group are ended first.
 * @returns how it ended, and its last words
 * @throws NotStarted where it is not there, or cannot be run
 * @throws OciNixError the signal's reason
 */
export async function runTalking(
  tool: Tool,
  options: TalkingOptions,
): Promise<{ readonly status: number | NodeJS.Signals; readonly words: string }> {
  const { signal, onLine, environment, descriptors = [] } = options;
  if (signal?.aborted) throw abortReason(signal);
  const file = tool.program.includes("/") ? tool.program : findOnPath(tool.program);
  if (file === undefined) throw notOnPath(tool);
  return await new Promise((resolve, reject) => {
    const child = spawn(file, tool.args, {
      stdio: ["ignore", "pipe", "pipe", ...descriptors],
      env: environment ?? ownEnvironment(),
      detached: true,
    });
    let words = "";
    for (const stream of [child.stdout, child.stderr] as Readable[]) {
      let begun = "";
      stream.setEncoding("utf8").on("data", (text: string) => {
        words = (words + text).slice(-LAST_BYTES);
        if (onLine === undefined) return;
        const lines = (begun + text).split("\n");
        // A line may be without end: it is given in parts then.
        begun = (lines.pop() as string).slice(-LAST_BYTES);
        for (const line of lines) onLine(line);
      });
      stream.on("end", () => {
        if (begun !== "") onLine?.(begun);
      });
    }
    const onAbort = () => end(child, true);
    signal?.addEventListener("abort", onAbort, { once: true });
    child.on("error", (error) => {
      signal?.removeEventListener("abort", onAbort);
      reject(startError(tool, error));
    });
    child.on("close", (code, by) => {
      signal?.removeEventListener("abort", onAbort);
      if (signal?.aborted) reject(abortReason(signal));
      else resolve({ status: code ?? by ?? 1, words });
    });
  });
}

/** Takes what a program says while it runs. */
export type OnOutput = (stream: "stdout" | "stderr", bytes: Uint8Array) => void;

/** What is kept of a tool's standard output at most, and of its standard error. */
const LONGEST_OUTPUT = 16 * 1024 * 1024;

/**
 * Runs a program with an environment that is said in full, as {@link runTalking} otherwise: nothing of the caller's reaches it, not even the umask,
 * which is 022. One that fails is a result.
 * @param options.file the program's file; its name alone is for messages
 * @param options.deadlineMs how long it may take
 * @param options.onOutput is given all that it says, of which nothing is kept then
 * @throws NotStarted where it cannot be run
 * @throws OciNixError `limit` past the deadline, or where it says too much; the signal's reason
 */
export async function runInEnvironment(
  tool: Tool,
  options: {
    readonly file: string;
    readonly environment: Readonly<Record<string, string>>;
    readonly directory: string;
    readonly stdin?: string | Uint8Array | undefined;
    readonly deadlineMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly onOutput?: OnOutput | undefined;
  },
): Promise<ProgramResult> {
  const { file, environment, directory, stdin = "", deadlineMs, signal, onOutput } = options;
  if (signal?.aborted) throw abortReason(signal);
  return await new Promise((resolve, reject) => {
    const before = process.umask(0o022);
    const child = spawn(file, tool.args, {
      cwd: directory,
      env: environment,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    process.umask(before);
    const said: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
    let length = 0;
    let failure: unknown;
    const stop = (reason: unknown) => {
      failure ??= reason;
      end(child, true);
      // Something that left its group may still have them.
      for (const stream of [child.stdout, child.stderr]) stream.destroy();
    };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].on("data", (bytes: Buffer) => {
        if (onOutput !== undefined) return onOutput(name, bytes);
        said[name].push(bytes);
        length += bytes.length;
        if (length > LONGEST_OUTPUT) stop(new OciNixError("limit", `${tool.program} says too much`));
      });
    }
    const tooLong = () => new OciNixError("limit", `${tool.program} did not end within ${(deadlineMs ?? 0) / 1000} s`);
    const timer = deadlineMs === undefined ? undefined : setTimeout(() => stop(tooLong()), deadlineMs);
    const onAbort = () => stop(signal && abortReason(signal));
    const settled = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    // A program that does not read its input is no error: its end tells.
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.on("error", (error) => {
      settled();
      reject(startError(tool, error));
    });
    child.on("close", (code, by) => {
      settled();
      const text = (name: "stdout" | "stderr") => Buffer.concat(said[name]).toString("utf8");
      if (failure !== undefined) reject(failure);
      else resolve({ status: code ?? by ?? 1, stdout: text("stdout"), stderr: text("stderr") });
    });
  });
}
