import { spawn } from "node:child_process";
import { tool } from "./tools.js";

/** What shells print when they wait for a line. */
export const PROMPT = "READY> ";

const PATIENCE_MS = 20_000;

/** A shell at a terminal of its own, as if somebody sat there. */
export interface Terminal {
  /** Types keys, and gives what the terminal shows before `until`, by default the next prompt. */
  type(keys: string, until?: string): Promise<string>;
  /** Ends the shell. */
  close(): Promise<void>;
}

/** Starts an interactive shell, whose prompt must be {@link PROMPT}, and waits for it. */
export async function openTerminal(
  command: string,
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Promise<Terminal> {
  const child = spawn(tool("script"), ["-qec", `stty cols 250 rows 250; ${command}`, "/dev/null"], {
    cwd: options.cwd,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: options.cwd,
      TERM: "xterm",
      LC_ALL: "C.UTF-8",
      SHELL: "/bin/sh",
      ...options.env,
    },
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  let shown = "";
  let wake = (): void => undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
    wake();
  });
  const waitFor = async (text: string): Promise<string> => {
    const end = Date.now() + PATIENCE_MS;
    while (!shown.includes(text)) {
      if (Date.now() > end)
        throw new Error(`no ${JSON.stringify(text)} from ${command} after ${JSON.stringify(shown)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 100);
      });
    }
    const before = shown.slice(0, shown.indexOf(text));
    shown = shown.slice(before.length + text.length);
    return before;
  };
  await waitFor(PROMPT);
  return {
    async type(keys, until = PROMPT) {
      child.stdin.write(keys);
      return await waitFor(until);
    },
    async close() {
      child.stdin.end("exit\n");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}
