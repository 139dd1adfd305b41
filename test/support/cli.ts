import { createHash } from "node:crypto";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CommandOptions, type CommandResult, type RunningCommand, runCommand, startCommand } from "./command.js";

/** The project's directory. */
export const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

export interface CliOptions extends Omit<CommandOptions, "env"> {
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A copy of the program to run instead of the project's own; see {@link installForEverybody}. */
  readonly program?: string;
  /** Process wrapped around node, as `["sh", "-c", "umask 077; exec \"$@\"", "sh"]`. */
  readonly wrapper?: readonly string[];
}

/** Runs the built command line to its end. A failing run is a result, not an error. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CommandResult> {
  const [command, ...rest] = commandLine(args, options);
  return runCommand(command, rest, withEnvironment(options));
}

/** Starts the built command line; the caller pipes `stdout` on, or does not read it at all. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCommand {
  const [command, ...rest] = commandLine(args, options);
  return startCommand(command, rest, withEnvironment(options));
}

/** Runs the command line and hashes its output without keeping it. */
export async function hashCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CommandResult & { readonly sha256: string; readonly size: number }> {
  const running = startCli(args, options);
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of running.stdout) {
    hash.update(chunk as Buffer);
    size += (chunk as Buffer).length;
  }
  return { ...(await running.ended), sha256: hash.digest("hex"), size };
}

/**
 * Copies the built program and what it needs at run time to a new directory that every user may read, as the project's own may
 * lie in somebody's private directory. The caller removes it. Gives the path of the program, for {@link CliOptions.program}.
 */
export function installForEverybody(): { readonly directory: string; readonly program: string } {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-installed-"));
  chmodSync(directory, 0o755);
  for (const name of ["bin", "dist", "package.json", ...runtimePackages()]) {
    cpSync(join(PROJECT, name), join(directory, name), { recursive: true, verbatimSymlinks: true });
  }
  return { directory, program: join(directory, "bin", "oci-nix.js") };
}

/** Whether every user may look into all directories on the way to `path`. */
export function isReachableByEverybody(path: string): boolean {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const { mode } = statSync(at);
    if ((mode & 0o001) === 0) return false;
  }
  return true;
}

function runtimePackages(): readonly string[] {
  const lock = JSON.parse(readFileSync(join(PROJECT, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly optional?: boolean }>>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => path !== "" && dev !== true && optional !== true)
    .map(([path]) => path);
}

function commandLine(args: readonly string[], options: CliOptions): [string, ...string[]] {
  const program = options.program ?? join(PROJECT, "bin", "oci-nix.js");
  return [...(options.wrapper ?? []), process.execPath, program, ...args] as [string, ...string[]];
}

/** The cache of this test file's runs: nobody's own. */
let cacheHome: string | undefined;

function ownCacheHome(): string {
  if (cacheHome === undefined) {
    const made = mkdtempSync(join(tmpdir(), "oci-nix-test-cache-"));
    // Tests drop root's rights.
    chmodSync(made, 0o777);
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
    cacheHome = made;
  }
  return cacheHome;
}

function withEnvironment(options: CliOptions): CommandOptions {
  const env: Record<string, string | undefined> = {
    ...process.env,
    XDG_CACHE_HOME: ownCacheHome(),
    ...options.env,
  };
  // Vitest's own variables would change what colour and NODE_ENV checks see.
  for (const name of ["VITEST", "NODE_ENV", "FORCE_COLOR", "NODE_OPTIONS"]) {
    if (options.env?.[name] === undefined) delete env[name];
  }
  return { ...options, env };
}
