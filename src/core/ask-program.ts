import { spawn } from "node:child_process";
import { isatty } from "node:tty";
import { OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";
import { end, type ProgramResult, startError, type Tool } from "./process.js";

/** An answer is a few lines; what is longer is none. */
const LONGEST_ANSWER = 1024 * 1024;

/** How long what a program wrote may take to arrive once it has ended. */
const GRACE_MS = 250;

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
