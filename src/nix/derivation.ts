import { type ByteString, displayBytes } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { openForReading, readRange } from "../core/file-range.js";
import { withoutTrailing } from "../core/trim.js";
import { parseStorePath, type StorePath, storeDirOf } from "./store-path.js";

/** What a build gives. */
export interface DerivationOutput {
  /** Usually `out`. */
  readonly name: string;
  /** Undefined where it depends on what is built (floating content-addressed outputs). */
  readonly path: StorePath | undefined;
}

/** A build of another derivation's outputs that has to be there first. */
export interface InputDerivation {
  readonly path: StorePath;
  /** Sorted. */
  readonly outputs: readonly string[];
}

/** How something is built, as Nix keeps it in the store. Nix manual, "Derivation". */
export interface Derivation {
  /** Sorted by name; at least one. */
  readonly outputs: readonly DerivationOutput[];
  readonly inputDerivations: readonly InputDerivation[];
  readonly inputSources: readonly StorePath[];
  readonly system: string;
  readonly builder: ByteString;
  readonly args: readonly ByteString[];
  /** In the derivation's order, which is by name; one a name. */
  readonly env: ReadonlyMap<ByteString, ByteString>;
}

/**
 * Reads a derivation's text, of which every byte is a character.
 *
 * The text is an ATerm: `Derive([("out","/nix/store/…","","")],[("/nix/store/….drv",["out"])],["/nix/store/…"],"x86_64-linux",…)`.
 * Nix manual, "Derivation file format". Derivations with dynamic ones among their inputs name their version; of those only the plain
 * outputs are read.
 * @param source the text's file, for errors
 * @throws OciNixError `invalid-input` where the text is no derivation
 */
export function parseDerivation(text: ByteString, storeDir: string, source: string): Derivation {
  return new DerivationReader(text, storeDir, source).derivation();
}

/**
 * {@link parseDerivation} of a derivation in the store.
 * @param storeRoot what stands before the store path to make it a file name
 * @param hint what to do where it cannot be read
 * @throws OciNixError also `not-found`, `unreadable`, `limit` where it has more than 64 MiB
 */
export function readDerivation(derivation: StorePath, storeRoot: string, hint = GONE): Derivation {
  const file = withoutTrailing(storeRoot, "/") + derivation;
  return parseDerivation(readText(file, hint), storeDirOf(derivation), file);
}

/** Far more than any: it is held in memory. */
const MAX_SIZE = 64 * 1024 * 1024;

const GONE = "say with --store-root where the store is, or evaluate the Nix expression again, and Nix writes it again";

function readText(file: string, hint: string): ByteString {
  let opened: ReturnType<typeof openForReading>;
  try {
    opened = openForReading(file);
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    throw new OciNixError(error.code, error.message.replace(/^cannot read /, "cannot read the derivation "), {
      hint,
      cause: error.cause,
    });
  }
  const { fd, size, close } = opened;
  try {
    if (size > MAX_SIZE) {
      throw new OciNixError("limit", `the derivation ${file} has ${size} bytes, which is more than ${MAX_SIZE}`);
    }
    return readRange(fd, { offset: 0, size }, file).toString("latin1");
  } finally {
    close();
  }
}

/** What needs no escaping. */
const PLAIN = /[^"\\]*/y;

const ESCAPED: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

class DerivationReader {
  readonly #text: ByteString;
  readonly #storeDir: string;
  readonly #source: string;
  #at = 0;

  constructor(text: ByteString, storeDir: string, source: string) {
    this.#text = text;
    this.#storeDir = storeDir;
    this.#source = source;
  }

  derivation(): Derivation {
    const hasVersion = this.#skip("DrvWithVersion(");
    if (hasVersion) {
      this.#string();
      this.#expect(",");
    } else {
      this.#expect("Derive(");
    }
    const outputs = this.#list(() => this.#output());
    this.#expect(",");
    const inputDerivations = this.#list(() => this.#inputDerivation());
    this.#expect(",");
    const inputSources = this.#list(() => this.#storePath());
    this.#expect(",");
    const system = this.#string();
    this.#expect(",");
    const builder = this.#string();
    this.#expect(",");
    const args = this.#list(() => this.#string());
    this.#expect(",");
    const env = new Map(this.#list(() => this.#tuple(() => this.#pair())));
    this.#expect(")");
    if (outputs.length === 0 || this.#at !== this.#text.length) throw this.#wrong();
    outputs.sort((a, b) => compareStrings(a.name, b.name));
    return { outputs, inputDerivations, inputSources, system, builder, args, env };
  }

  #output(): DerivationOutput {
    return this.#tuple(() => {
      const [name, path] = this.#pair();
      // How and from what a fixed output's path is made.
      this.#expect(",");
      this.#pair();
      if (name === "") throw this.#wrong();
      return { name, path: path === "" ? undefined : parseStorePath(path, this.#storeDir) };
    });
  }

  #inputDerivation(): InputDerivation {
    return this.#tuple(() => {
      const path = this.#storePath();
      this.#expect(",");
      const outputs = this.#outputNames(0);
      return { path, outputs };
    });
  }

  /** `["out"]`, or, where outputs are derivations themselves, `(["out"],[("out",["out"])])`, of which the former is kept. */
  #outputNames(depth: number): readonly string[] {
    if (depth > MAX_DEPTH) throw this.#wrong();
    if (this.#text[this.#at] !== "(") return this.#list(() => this.#string());
    return this.#tuple(() => {
      const names = this.#list(() => this.#string());
      this.#expect(",");
      this.#list(() =>
        this.#tuple(() => {
          this.#string();
          this.#expect(",");
          this.#outputNames(depth + 1);
        }),
      );
      return names;
    });
  }

  #storePath(): StorePath {
    return parseStorePath(this.#string(), this.#storeDir);
  }

  #pair(): readonly [ByteString, ByteString] {
    const first = this.#string();
    this.#expect(",");
    return [first, this.#string()];
  }

  #tuple<T>(read: () => T): T {
    this.#expect("(");
    const value = read();
    this.#expect(")");
    return value;
  }

  #list<T>(read: () => T): T[] {
    this.#expect("[");
    const items: T[] = [];
    if (this.#skip("]")) return items;
    do items.push(read());
    while (this.#skip(","));
    this.#expect("]");
    return items;
  }

  #string(): ByteString {
    this.#expect('"');
    const parts: string[] = [];
    for (;;) {
      PLAIN.lastIndex = this.#at;
      parts.push(PLAIN.exec(this.#text)?.[0] ?? "");
      this.#at = PLAIN.lastIndex;
      if (this.#skip('"')) return parts.join("");
      const escaped = this.#text[this.#at + 1];
      if (escaped === undefined) throw this.#wrong();
      parts.push(ESCAPED[escaped] ?? escaped);
      this.#at += 2;
    }
  }

  #skip(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #expect(text: string): void {
    if (!this.#skip(text)) throw this.#wrong(text);
  }

  #wrong(expected?: string): OciNixError {
    const found = this.#text.slice(this.#at, this.#at + SHOWN);
    const there = `at byte ${this.#at} ${found === "" ? "it ends" : `there is ${displayBytes(found)}`}`;
    return new OciNixError(
      "invalid-input",
      `${this.#source} is not a derivation as Nix writes them: ${there}${expected === undefined ? "" : `, where ${expected} is expected`}`,
      {
        hint: "nix-store --verify --check-contents tells whether the store is damaged; then evaluate or fetch it again",
      },
    );
  }
}

/** Bytes of a derivation in a message. */
const SHOWN = 20;

/** Outputs of outputs of outputs: nobody nests them deeper. */
const MAX_DEPTH = 20;
