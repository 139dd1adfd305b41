import { OciNixError } from "../core/errors.js";
import { runInEnvironment } from "../core/run-tool.js";
import type { DiskTools } from "./tools.js";

const LAST_LINES = 8;
const LAST_CHARACTERS = 4000;
const SHELL = "/bin/sh";

/**
 * Runs the script of a spec over an image that is there, on this machine. It has the environment of tools, not the caller's, and besides
 * `diskImage` and `out`.
 * @param files.image the image; `directory` is where it is, and what the script leaves beside it stays
 * @throws OciNixError `invalid-input` with its last lines where it fails; the signal's reason
 */
export async function runPostScript(
  script: string,
  files: { readonly image: string; readonly directory: string },
  {
    tools,
    signal,
    onLine,
  }: {
    readonly tools: DiskTools;
    readonly signal?: AbortSignal | undefined;
    readonly onLine?: ((line: string) => void) | undefined;
  },
): Promise<void> {
  let words = "";
  let begun = "";
  const args = ["-eu", "-c", script, "postVM"];
  const { status } = await runInEnvironment(
    { program: SHELL, args, debianPackage: "dash" },
    {
      file: SHELL,
      environment: { ...tools.scriptEnvironment, diskImage: files.image, out: files.directory },
      directory: tools.directory,
      signal,
      onOutput(_, bytes) {
        const text = Buffer.from(bytes).toString("utf8");
        words = (words + text).slice(-LAST_CHARACTERS);
        const lines = (begun + text).split("\n");
        begun = (lines.pop() as string).slice(-LAST_CHARACTERS);
        for (const line of lines) onLine?.(line);
      },
    },
  );
  if (begun !== "") onLine?.(begun);
  if (status === 0) return;
  const last = words.trimEnd().split("\n").slice(-LAST_LINES).join("\n");
  const how = typeof status === "number" ? `exit ${status}` : status;
  throw new OciNixError("invalid-input", `postVM failed (${how})${last === "" ? "" : `; its last lines:\n${last}`}`);
}
