import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

/** Of what a program says, in messages. */
export const LAST_BYTES = 2000;

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

/** A program that could not be run. */
export class NotStarted extends OciNixError {
  /** To follow its name: `is not on the PATH`. */
  readonly reason: string;

  constructor(code: "not-found" | "unreadable", program: string, reason: string, cause: unknown, hint?: string) {
    super(code, `${program} ${reason}`, { cause, ...(hint === undefined ? {} : { hint }) });
    this.reason = reason;
  }
}

/** Ends a program at once, with what it started in its process group where it leads one. */
export function end(child: ChildProcess, isGroup: boolean): void {
  const { pid } = child;
  if (pid === undefined) return;
  try {
    if (isGroup) process.kill(-pid, "SIGKILL");
    else child.kill("SIGKILL");
  } catch {
    // All of them have ended.
  }
}

/** What is to be said of a program that did not start. */
export function startError(tool: Tool, error: Error): unknown {
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

/** All that reaches a program where nobody says otherwise. */
export const ownEnvironment = () => ({ PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" });

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
