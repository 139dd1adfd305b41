import { readFileSync } from "node:fs";
import type { ByteString } from "../core/byte-string.js";
import { compareStrings, describeErrno, errnoOf, OciNixError } from "../core/errors.js";
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
 * @throws OciNixError also `not-found` and `unreadable`
 */
export function readDerivation(derivation: StorePath, storeRoot: string): Derivation {
  const file = storeRoot.replace(/\/+$/, "") + derivation;
  let text: ByteString;
  try {
    text = readFileSync(file, "latin1");
  } catch (error) {
    throw new OciNixError(
      errnoOf(error) === "ENOENT" ? "not-found" : "unreadable",
      `cannot read the derivation ${file}: ${describeErrno(error)}`,
      { hint: "say with --store-root where the store is, or leave derivations out of the closure", cause: error },
    );
  }
  return parseDerivation(text, storeDirOf(derivation), file);
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
    if (!this.#skip(text)) throw this.#wrong();
  }

  #wrong(): OciNixError {
    return new OciNixError(
      "invalid-input",
      `${this.#source} is not a derivation as Nix writes them (at byte ${this.#at})`,
    );
  }
}

/** Outputs of outputs of outputs: nobody nests them deeper. */
const MAX_DEPTH = 20;
