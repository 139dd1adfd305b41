import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Calls that change something below a directory. */
export const CHANGING = "create write sync truncate rename link unlink mkdir";
/** Those of them that make, name and remove files: the few among many. */
export const NAMING = "create sync truncate rename link unlink mkdir";
/** Calls that read. */
export const READING = "open read";

/** What is to happen in the processes that a command line is, and starts. */
export interface Injection {
  /** Of which directory. */
  readonly below: string;
  readonly ops: string;
  /** To which of these calls, from 1; 0: to none, they are only counted. */
  readonly at: number;
  readonly do: "count" | "kill" | "stop" | "short" | `errno:${number}`;
  /** To all later calls, too. */
  readonly forever?: boolean;
  /** Not to programs that Node starts. */
  readonly onlyNode?: boolean;
}

/** See preload.c. */
const PAGE = 4096;

/** The library that injects faults; see preload.c. */
export class Preload {
  readonly #library: string;
  readonly #directory: string;
  #counters = 0;

  /** Compiles it into the directory. Needs gcc. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#library = join(directory, "preload.so");
    const source = fileURLToPath(new URL("preload.c", import.meta.url));
    execFileSync("gcc", ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", this.#library, source, "-ldl"]);
  }

  /** What goes into the environment; how many of the calls were made by now; of which file the one was where the process stopped. */
  inject(injection: Injection): {
    readonly env: Readonly<Record<string, string>>;
    calls(): number;
    stoppedAt(): string;
  } {
    const counter = join(this.#directory, `counter-${this.#counters++}`);
    writeFileSync(counter, Buffer.alloc(PAGE));
    const { below, ops, at, forever, onlyNode } = injection;
    const env = {
      LD_PRELOAD: this.#library,
      FAULT_BELOW: below,
      FAULT_OPS: ops,
      FAULT_AT: String(at),
      FAULT_DO: injection.do,
      FAULT_COUNTER: counter,
      ...(forever === true ? { FAULT_FOREVER: "1" } : {}),
      ...(onlyNode === true ? { FAULT_PROGRAM: basename(process.execPath) } : {}),
    };
    return {
      env,
      calls: () => Number(readFileSync(counter).readBigUInt64LE()),
      stoppedAt: () => readFileSync(counter, "utf8").slice(8).split("\0")[0] ?? "",
    };
  }

  /** A clock that jumps. */
  clock(seed: number): Readonly<Record<string, string>> {
    return { LD_PRELOAD: this.#library, FAULT_CLOCK: String(seed) };
  }
}
