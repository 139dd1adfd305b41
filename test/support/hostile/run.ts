import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { runCli } from "../cli.js";

/** How a run of the command line ended. */
export interface HostileRun {
  readonly status: number | null;
  readonly stderr: string;
  readonly stdout: string;
}

/** A place for hostile input, and for what is made of it. */
export class HostilePlace {
  readonly directory = mkdtempSync(join(tmpdir(), "oci-nix-hostile-"));
  readonly #temporary = join(this.directory, "temporary");

  path(name: string): string {
    return join(this.directory, name);
  }

  /**
   * Runs the command line, and sees that it does what it may whatever it is given: it ends in time by itself, says errors in words, takes
   * bounded memory and leaves no temporary files.
   */
  async run(
    args: readonly string[],
    {
      maxMb = 300,
      stdin,
      env = {},
    }: { readonly maxMb?: number; readonly stdin?: Buffer; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<HostileRun> {
    mkdirSync(this.#temporary, { recursive: true });
    const usage = this.path("usage");
    // Not what getrusage says, which counts what the parent had before the program was started.
    const report = `import{readFileSync,writeFileSync}from"node:fs";import{isMainThread}from"node:worker_threads";if(isMainThread)process.on("exit",()=>writeFileSync(${JSON.stringify(usage)},/VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status","utf8"))[1]))`;
    const start = performance.now();
    const { status, signal, stderr, stdout } = await runCli(args, {
      env: {
        ...env,
        TMPDIR: this.#temporary,
        XDG_CACHE_HOME: this.path("cache"),
        NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(report)}`,
      },
      ...(stdin === undefined ? {} : { stdin }),
    });
    expect(signal).toBe(null);
    const said = stderr;
    expect(said).not.toMatch(/internal error|\n +at /);
    expect(said.length).toBeLessThan(20_000);
    expect(performance.now() - start).toBeLessThan(60_000);
    expect(Number(readFileSync(usage, "utf8")) / 1024).toBeLessThan(maxMb);
    expect(readdirSync(this.#temporary)).toEqual([]);
    return { status, stderr: said, stdout: stdout.toString("utf8") };
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
