import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Corpus } from "../corpus.mjs";
import { type Environment, measure, output, type Run } from "../measure.mjs";

/** One command at one size, run once. */
export interface Point {
  readonly command: string;
  readonly size: number;
  readonly run: Run;
}

/** How one kind of thing grows. */
export interface Limit {
  /** What {@link Point.size} counts. */
  readonly what: string;
  readonly points: readonly Point[];
}

/** What cases are given. */
export interface Bench {
  /** A directory that is there until the end. */
  readonly directory: string;
  /** For PATH: `oci-nix` and `node`. */
  readonly bin: string;
  /** Leaves out the largest sizes. */
  readonly isShort: boolean;
  readonly log: (line: string) => void;
}

/** Makes something of a size, runs commands on it, and checks what they make. */
export class Case {
  readonly points: Point[] = [];
  readonly environment: Environment;
  readonly #log: Bench["log"];
  readonly #what: string;
  #size = 0;

  constructor(what: string, { directory, bin, log }: Bench) {
    this.#what = what;
    this.#log = log;
    const cwd = join(directory, what.replaceAll(/[^a-z0-9]+/gi, "-"));
    mkdirSync(cwd, { recursive: true });
    const path = `${bin}:${process.env.PATH}:/usr/sbin:/sbin`;
    // GNU tar and bsdtar escape what is no letter in their locale.
    const env = { PATH: path, LC_ALL: "C", XDG_CACHE_HOME: join(cwd, "cache"), NODE_OPTIONS: undefined };
    this.environment = { cwd, env };
  }

  /** Begins with another size: an empty directory with `spec.json` in it. */
  begin(size: number, { storeRoot, graph }: Pick<Corpus, "storeRoot" | "graph">, more: object = {}): void {
    this.#size = size;
    rmSync(this.environment.cwd, { recursive: true });
    mkdirSync(this.environment.cwd);
    this.write("spec.json", { name: "limits", tag: "1", closure: { storeRoot, graph }, ...more });
  }

  /** Forgets what was made, which may be gigabytes. */
  end(): Limit {
    rmSync(this.environment.cwd, { recursive: true, force: true });
    return { what: this.#what, points: this.points };
  }

  write(name: string, content: unknown): void {
    writeFileSync(join(this.environment.cwd, name), JSON.stringify(content));
  }

  read(name: string): string {
    return readFileSync(join(this.environment.cwd, name), "utf8");
  }

  json<T>(name: string): T {
    return JSON.parse(this.read(name)) as T;
  }

  /** Runs a bash script and keeps its figures under the name of the command. @throws Error where it fails */
  async measure(command: string, script: string): Promise<void> {
    const run = await measure(script, this.environment);
    this.points.push({ command, size: this.#size, run });
    const { wall, cpu, rssKiB } = run;
    this.#log(`${this.#what} ${this.#size}: ${command}: ${wall.toFixed(2)} s, CPU ${cpu.toFixed(2)} s, ${rssKiB} KiB`);
  }

  /** Runs a bash script and gives its output, trimmed. @throws Error where it fails */
  async output(script: string): Promise<string> {
    return (await output(script, this.environment)).trim();
  }

  /** @throws Error where the output of the script is another one */
  async expect(what: string, script: string, expected: string | number): Promise<void> {
    this.equal(what, await this.output(script), String(expected));
  }

  /** @throws Error where it is another one */
  equal(what: string, actual: string, expected: string): void {
    if (actual === expected) return;
    const short = (text: string) => (text.length > 300 ? `${text.slice(0, 300)}… (${text.length})` : text);
    throw new Error(
      `${this.#what}, ${this.#size}: ${what} should be\n  ${short(expected)}\nand is\n  ${short(actual)}`,
    );
  }
}

/** The line of JSON on standard error. */
export interface Summary {
  readonly imageId: string;
  readonly layers: readonly { readonly diffId: string; readonly size: number }[];
}

export const QUIETLY = "--no-cache --json --progress=none";

/** Lists the plain layers of the OCI layout `directory`, by a program that is not ours. */
export function listing(directory: string, lister = "tar -tf"): string {
  const isLayer = `tar -tf "$blob" >/dev/null 2>&1`;
  return `for blob in ${directory}/blobs/sha256/*; do if ${isLayer}; then ${lister} "$blob" 2>/dev/null; fi; done`;
}
