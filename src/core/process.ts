import { type ChildProcess, spawn } from "node:child_process";
import { errnoOf, OciNixError } from "./errors.js";
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

/** How a program ended, and what it said. */
export interface ProgramResult {
  /** Its exit status, or the signal that ended it. */
  readonly status: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** An answer is a few lines; what is longer is none. */
const LONGEST_ANSWER = 1024 * 1024;

/**
 * Gives an external program a text on its standard input and waits for what it says. One that fails is a result; its words are in no error,
 * as they may hold secrets. Its environment is as in {@link runProgram}.
 * @throws OciNixError `not-found` where there is no such program; `limit` where it says too much; the signal's reason
 */
export async function askProgram(
  tool: Tool,
  options: { readonly environment: readonly string[]; readonly stdin: string; readonly signal: AbortSignal },
): Promise<ProgramResult> {
  const { environment, stdin, signal } = options;
  if (signal.aborted) throw abortReason(signal);
  const named = environment.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  const child = spawn(tool.program, tool.args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...ownEnvironment(), ...Object.fromEntries(named) },
    signal,
    killSignal: "SIGKILL",
  });
  const said = { stdout: "", stderr: "" };
  return await new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      child.kill("SIGKILL");
      // A process that it started may hold these open.
      for (const stream of child.stdio) stream?.destroy();
      reject(error);
    };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        said[name] += text;
        if (said[name].length > LONGEST_ANSWER) fail(new OciNixError("limit", `${tool.program} says too much`));
      });
    }
    // A program that does not read its input is no error: its end tells.
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.on("error", (error) => fail(signal.aborted ? abortReason(signal) : startError(tool, error)));
    child.on("close", (code, by) => resolve({ status: code ?? by ?? 1, ...said }));
  });
}

function startError(tool: Tool, error: Error): unknown {
  if (errnoOf(error) !== "ENOENT") return error;
  const hint = `install the Debian package ${tool.debianPackage}`;
  return new OciNixError("not-found", `${tool.program} is not on the PATH`, { hint, cause: error });
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
