import { spawn } from "node:child_process";
import { OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

const LAST_BYTES = 2000;

/**
 * Runs an external program as a filter from one open file to another, with an environment of its own: nothing of the caller's but PATH
 * reaches it.
 *
 * @param tool `debianPackage` is named where the program is missing
 * @throws OciNixError `not-found` where there is no such program, `invalid-input` with its last words where it fails, the signal's reason
 */
export async function runFilter(
  tool: { readonly program: string; readonly args: readonly string[]; readonly debianPackage: string },
  from: number,
  to: number,
  signal?: AbortSignal,
): Promise<void> {
  const child = spawn(tool.program, tool.args, {
    stdio: [from, to, "pipe"],
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    ...(signal === undefined ? {} : { signal }),
  });
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
