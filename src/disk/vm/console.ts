import { StringDecoder } from "node:string_decoder";

/** How much of the console is kept, from its end; and the longest line, in characters. */
const LONGEST_LOG = 4 * 1024 * 1024;
const LONGEST_LINE = 16 * 1024;

/** Escape sequences by which firmware moves the cursor, and what else is no text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const NO_TEXT = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[()#][0-9A-Za-z]|[=>78cDEHM])|[\x00-\x08\x0b-\x1f\x7f]/g;

/** What a line is looked for by: a text that it has in it, or what says of a line whether it is the one. */
export type LinePattern = string | ((line: string) => boolean);

/** The serial console of a guest: text as it comes, without what is meant for terminals. */
export class GuestConsole {
  readonly #decoder = new StringDecoder("utf8");
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #watched: { readonly pattern: LinePattern; readonly run: () => void }[] = [];
  #text = "";
  /** The last line, which may go on. */
  #begun = "";
  /** When the guest said something for the last time, or undefined where it never did: as of `performance.now`. */
  lastAt: number | undefined;

  constructor(onLine?: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** Runs something once, as soon as there is such a line, be it whole or not. */
  watch(pattern: LinePattern, run: () => void): void {
    this.#watched.push({ pattern, run });
  }

  write(bytes: Uint8Array): void {
    this.lastAt = performance.now();
    // What is cut off in the middle of an escape sequence is seen whole with what follows.
    const lines = (this.#begun + this.#decoder.write(Buffer.from(bytes))).split("\n");
    this.#begun = lines.pop() as string;
    for (const line of lines) this.#add(cleaned(line));
    if (this.#begun.length > LONGEST_LINE) {
      this.#add(cleaned(this.#begun));
      this.#begun = "";
    }
    this.#look(cleaned(this.#begun));
  }

  /** All that is kept, with the line that was begun. */
  get log(): string {
    return this.#text + cleaned(this.#begun);
  }

  #add(line: string): void {
    this.#text = `${this.#text}${line}\n`;
    // Not at every line, as this copies all of it.
    if (this.#text.length > 2 * LONGEST_LOG) this.#text = this.#text.slice(-LONGEST_LOG);
    this.#onLine?.(line);
    this.#look(line);
  }

  #look(line: string): void {
    for (const [index, { pattern, run }] of [...this.#watched.entries()].reverse()) {
      if (typeof pattern === "string" ? !line.includes(pattern) : !pattern(line)) continue;
      this.#watched.splice(index, 1);
      run();
    }
  }
}

function cleaned(line: string): string {
  return line.replace(NO_TEXT, "");
}
