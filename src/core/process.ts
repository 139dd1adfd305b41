import { type ChildProcess, spawn } from "node:child_process";
import { OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

const LAST_BYTES = 2000;

/** A program that is not ours; `debianPackage` is named where it is missing. */
export interface Tool {
  readonly program: string;
  readonly args: readonly string[];
  readonly debianPackage: string;
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
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(abortReason(signal));
      else if (error.code !== "ENOENT") reject(error);
      else {
        const hint = `install the Debian package ${tool.debianPackage}`;
        reject(new OciNixError("not-found", `${tool.program} is not on the PATH`, { hint, cause: error }));
      }
    });
    child.on("close", (code, by) => {
      if (code === 0) resolve();
      else
        reject(new OciNixError("invalid-input", `${tool.program} failed (${by ?? `exit ${code}`}): ${words.trim()}`));
    });
  });
}
