import { OciNixError } from "../core/errors.js";
import { withoutTrailing } from "../core/trim.js";
import { ACCEPTED_CLOSURES, checkSize, type DescribedClosure, type DescribedObject } from "./described-closure.js";
import { normaliseNarHash } from "./hash.js";

/**
 * Reads the two line formats in which Nix lists store objects, one after another, each object told apart by its own shape:
 *
 * - registration (closureInfo, `nix-store --dump-db`): path, NAR hash, NAR size, deriver, number of references, references
 * - exportReferencesGraph: path, deriver, number of references, references
 *
 * An unknown deriver is an empty line. Empty lines at the end are ignored, and so are carriage returns.
 * @throws OciNixError `invalid-input` with the line's number
 */
export function parseRegistration(text: string, source: string): DescribedClosure {
  const lines = new Lines(text, source);
  const objects: DescribedObject[] = [];
  while (!lines.atEnd()) objects.push(parseObject(lines));
  return { objects };
}

function parseObject(lines: Lines): DescribedObject {
  const path = lines.path();
  // A deriver is empty or an absolute path; a hash is neither, however it is written.
  const described = lines.isPathOrEmpty() ? { narHash: undefined, narSize: undefined } : parseDescription(lines);
  const deriver = lines.deriver();
  const count = lines.count("the number of references");
  const references: string[] = [];
  while (references.length < count) references.push(lines.path());
  return { path, ...described, deriver, references };
}

function parseDescription(lines: Lines): { readonly narHash: string; readonly narSize: number } {
  const narHash = normaliseNarHash(lines.take("a NAR hash"), lines.where());
  return { narHash, narSize: lines.count("a NAR size in bytes") };
}

/** The lines of a text, taken one at a time. */
class Lines {
  readonly #lines: readonly string[];
  readonly #source: string;
  #taken = 0;

  constructor(text: string, source: string) {
    this.#lines = withoutTrailing(text, "\r\n").split(/\r?\n/);
    this.#source = source;
  }

  atEnd(): boolean {
    return this.#taken >= this.#lines.length;
  }

  isPathOrEmpty(): boolean {
    return /^(\/|$)/.test(this.#lines[this.#taken] ?? "");
  }

  /** Where the line last taken is, for errors. */
  where(): string {
    return `${this.#source}, line ${this.#taken}`;
  }

  take(expected: string): string {
    const line = this.#lines[this.#taken];
    if (line === undefined) {
      throw new OciNixError(
        "invalid-input",
        `${this.#source} ends after line ${this.#taken}, where ${expected} is due`,
        {
          hint: "the file was cut off: export it again",
        },
      );
    }
    this.#taken++;
    return line;
  }

  path(): string {
    const line = this.take("a store path");
    if (!line.startsWith("/")) throw this.#unexpected(line, "a store path");
    return line;
  }

  deriver(): string | undefined {
    const line = this.take("a deriver");
    if (line === "" || line === "unknown-deriver") return undefined;
    if (!line.startsWith("/")) throw this.#unexpected(line, "a deriver's store path or nothing");
    return line;
  }

  count(expected: string): number {
    const line = this.take(expected);
    if (!/^[0-9]+$/.test(line)) throw this.#unexpected(line, expected);
    return checkSize(Number(line), this.where());
  }

  #unexpected(line: string, expected: string): OciNixError {
    const shown = JSON.stringify(line.length > 120 ? `${line.slice(0, 120)}…` : line);
    return new OciNixError("invalid-input", `${this.where()}: ${shown} is not ${expected}`, {
      hint: ACCEPTED_CLOSURES,
    });
  }
}
