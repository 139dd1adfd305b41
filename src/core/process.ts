import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { isatty } from "node:tty";
import { errnoOf, OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

const LAST_BYTES = 2000;

/** A program that is not ours; `debianPackage` is named where it is missing, and so is what nixpkgs calls it where that is said. */
export interface Tool {
  readonly program: string;
  readonly args: readonly string[];
  readonly debianPackage: string;
  readonly nixPackage?: string;
}

/**
 * Runs an external program and gives its standard output. It reads nothing, and of the caller's environment PATH and the named variables
 * reach it.
 * @param options.directory where it runs; default: where we do
 * @throws OciNixError as {@link runFilter}
 */
export async function runProgram(
  tool: Tool,
  options: {
    readonly environment: readonly string[];
    readonly directory?: string | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<string> {
  const { environment, directory, signal } = options;
  const named = environment.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  const child = spawn(tool.program, tool.args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...ownEnvironment(), ...Object.fromEntries(named) },
    ...(directory === undefined ? {} : { cwd: directory }),
    ...(signal === undefined ? {} : { signal }),
  });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  await ended(child, tool, signal);
  return output;
}

/** How a program ended, and what it said. */
export interface ProgramResult {
  /** Its exit status, or the signal that ended it. */
  readonly status: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** An answer is a few lines; what is longer is none. */
const LONGEST_ANSWER = 1024 * 1024;

/** How long what a program wrote may take to arrive once it has ended. */
const GRACE_MS = 250;

/** A program that could not be run. */
export class NotStarted extends OciNixError {
  /** To follow its name: `is not on the PATH`. */
  readonly reason: string;

  constructor(code: "not-found" | "unreadable", program: string, reason: string, cause: unknown, hint?: string) {
    super(code, `${program} ${reason}`, { cause, ...(hint === undefined ? {} : { hint }) });
    this.reason = reason;
  }
}

/**
 * Gives an external program a text on its standard input and waits for what it says until its end, whoever else holds its output open. One that
 * fails is a result; its words are in no error, as they may hold secrets. The caller's whole environment reaches it. Where it is given up,
 * what it started is ended as well, but for what a terminal ends.
 * @throws NotStarted `not-found` where there is no such program, `unreadable` where it cannot be run
 * @throws OciNixError `limit` where it says too much; the signal's reason
 */
export async function askProgram(
  tool: Tool,
  options: { readonly stdin: string; readonly signal: AbortSignal },
): Promise<ProgramResult> {
  const { stdin, signal } = options;
  if (signal.aborted) throw abortReason(signal);
  // A group of its own has no terminal, at which it may ask for something; there the user ends all of them.
  const isGroup = ![0, 1, 2].some((fd) => isatty(fd));
  const said = { stdout: "", stderr: "" };
  return await new Promise((resolve, reject) => {
    const child = spawn(tool.program, tool.args, { stdio: ["pipe", "pipe", "pipe"], detached: isGroup });
    let timer: NodeJS.Timeout | undefined;
    const settle = (run: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      // A process that it started may hold these open.
      for (const stream of child.stdio) stream?.destroy();
      run();
    };
    const fail = (error: unknown) => {
      end(child, isGroup);
      settle(() => reject(error));
    };
    const onAbort = () => fail(abortReason(signal));
    const done = (code: number | null, by: NodeJS.Signals | null) =>
      settle(() => resolve({ status: code ?? by ?? 1, ...said }));
    signal.addEventListener("abort", onAbort, { once: true });
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        said[name] += text;
        if (said[name].length > LONGEST_ANSWER) fail(new OciNixError("limit", `${tool.program} says too much`));
      });
    }
    // A program that does not read its input is no error: its end tells.
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.on("error", (error) => fail(startError(tool, error)));
    child.on("exit", (code, by) => {
      if (!signal.aborted) timer = setTimeout(() => done(code, by), GRACE_MS);
    });
    child.on("close", done);
  });
}

function end(child: ChildProcess, isGroup: boolean): void {
  const { pid } = child;
  if (pid === undefined) return;
  try {
    if (isGroup) process.kill(-pid, "SIGKILL");
    else child.kill("SIGKILL");
  } catch {
    // All of them have ended.
  }
}

function startError(tool: Tool, error: Error): unknown {
  const { program } = tool;
  const code = errnoOf(error);
  if (code === "ENOENT" && !isOnPath(program)) {
    return notOnPath(tool, error);
  }
  if (code === "ENOENT")
    return new NotStarted("unreadable", program, "cannot be run: its interpreter is not there", error);
  if (code === "EACCES") return new NotStarted("unreadable", program, "cannot be run: permission denied", error);
  return error;
}

/** The error of a program that is not there. */
export function notOnPath({ program, debianPackage, nixPackage }: Omit<Tool, "args">, cause?: unknown): NotStarted {
  const alternative = nixPackage === undefined ? "" : `, or ${nixPackage} of nixpkgs`;
  const hint = `install the Debian package ${debianPackage}${alternative}`;
  return new NotStarted("not-found", program, "is not on the PATH", cause, hint);
}

function isOnPath(program: string): boolean {
  return program.includes("/") ? existsSync(program) : findOnPath(program) !== undefined;
}

/** The file that the caller's PATH has under this name. */
export function findOnPath(program: string): string | undefined {
  return ownEnvironment()
    .PATH.split(":")
    .map((directory) => join(directory, program))
    .find((file) => existsSync(file));
}

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
 * @throws NotStarted as {@link askProgram}
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

const ownEnvironment = () => ({ PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" });

/**
 * Runs an external program as a filter from one open file to another, with an environment of its own: nothing of the caller's but PATH
 * reaches it.
 *
 * @throws OciNixError `not-found` where there is no such program, `invalid-input` with its last words where it fails, the signal's reason
 */
export async function runFilter(tool: Tool, from: number, to: number, signal?: AbortSignal): Promise<void> {
  const child = spawn(tool.program, tool.args, {
    stdio: [from, to, "pipe"],
    env: ownEnvironment(),
    ...(signal === undefined ? {} : { signal }),
  });
  await ended(child, tool, signal);
}

/** Waits for a program's end. @throws OciNixError as {@link runFilter} */
async function ended(child: ChildProcess, tool: Tool, signal: AbortSignal | undefined): Promise<void> {
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-LAST_BYTES);
  });
  await new Promise<void>((resolve, reject) => {
    child.on("error", (error) => reject(signal?.aborted ? abortReason(signal) : startError(tool, error)));
    child.on("close", (code, by) => {
      if (code === 0) resolve();
      else
        reject(new OciNixError("invalid-input", `${tool.program} failed (${by ?? `exit ${code}`}): ${words.trim()}`));
    });
  });
}
