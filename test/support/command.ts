import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { createReadStream, createWriteStream } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface CommandOptions {
  readonly cwd?: string;
  /** Replaces the whole environment where given. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes, a stream, or the file at a path. Without it standard input is empty. */
  readonly stdin?: string | Buffer | Readable | { readonly file: string };
  /** Standard output goes to the file at this path, and {@link CommandResult.stdout} stays empty. */
  readonly stdoutFile?: string;
  /** After this time the process gets SIGKILL, and the result says so in `signal`. Default: 60 seconds. */
  readonly timeoutMs?: number;
}

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly child: ChildProcess;
  /** Not read by anybody: a process whose reader does not read blocks, as in a stalled pipe. */
  readonly stdout: Readable;
  /** Settles when the process has ended and its standard error is closed; its `stdout` is empty. */
  readonly ended: Promise<CommandResult>;
}

/** Starts a process whose standard output the caller reads or leaves alone. Rejects `ended` only where it cannot be started. */
export function startCommand(command: string, args: readonly string[], options: CommandOptions = {}): RunningCommand {
  const spawnOptions: SpawnOptions = {
    stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: { ...options.env } }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  };
  const child = spawn(command, args, spawnOptions);
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  if (options.stdin !== undefined) feed(child, options.stdin);
  const ended = new Promise<CommandResult>((resolve, reject) => {
    // Not "close": that waits for standard output, which nobody may be reading.
    const stderrEnd = new Promise<void>((end) => child.stderr?.on("close", end));
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("exit", (status, signal) => {
      clearTimeout(timer);
      void stderrEnd.then(() => resolve({ status, signal, stdout: Buffer.alloc(0), stderr }));
    });
  });
  return { child, stdout: child.stdout as Readable, ended };
}

/** Runs a process to its end. A failing one is a result, not an error. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const running = startCommand(command, args, options);
  const chunks: Buffer[] = [];
  const output =
    options.stdoutFile === undefined
      ? collect(running.stdout, chunks)
      : pipeline(running.stdout, createWriteStream(options.stdoutFile));
  const [result] = await Promise.all([running.ended, output]);
  return { ...result, stdout: Buffer.concat(chunks) };
}

/**
 * Runs a process that has to succeed and gives its standard output as text.
 * @throws Error with the command, how it ended and its standard error
 */
export async function runOk(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return expectOk(await runCommand(command, args, options), [command, ...args].join(" ")).stdout.toString("utf8");
}

/** The result itself where the process succeeded. @throws Error with how it ended and its standard error */
export function expectOk(result: CommandResult, what: string): CommandResult {
  if (result.status === 0) return result;
  const end = result.signal === null ? `exit status ${result.status}` : `signal ${result.signal}`;
  throw new Error(`${what} ended with ${end}\n${result.stderr}`);
}

async function collect(stream: Readable, chunks: Buffer[]): Promise<void> {
  for await (const chunk of stream) chunks.push(chunk as Buffer);
}

function feed(child: ChildProcess, stdin: NonNullable<CommandOptions["stdin"]>): void {
  const target = child.stdin;
  if (target === null) return;
  // A process that ends without reading all of its input is no error of ours: its exit status tells.
  target.on("error", () => {});
  if (typeof stdin === "string" || Buffer.isBuffer(stdin)) target.end(stdin);
  else ("file" in stdin ? createReadStream(stdin.file) : stdin).pipe(target);
}
