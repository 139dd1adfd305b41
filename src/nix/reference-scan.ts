import { type StorePath, storeDirOf } from "./store-path.js";

/** Characters of the hash part of a store path: Nix base-32. */
const HASH_LENGTH = 32;
const IS_HASH_CHARACTER = new Uint8Array(256);
for (const character of Buffer.from("0123456789abcdfghijklmnpqrsvwxyz")) IS_HASH_CHARACTER[character] = 1;

/** The hash part of a store path. */
export function hashPartOf(path: StorePath): string {
  const start = storeDirOf(path).length + 1;
  return path.slice(start, start + HASH_LENGTH);
}

/**
 * Finds hash parts of store paths in bytes, as Nix finds references: wherever the 32 characters stand, whatever is around them.
 * Bytes come in pieces; what spans two of them is found, too, until {@link end}.
 */
export class ReferenceScanner {
  /** The hash parts found so far. */
  readonly found = new Set<string>();
  readonly #wanted: ReadonlySet<string>;
  /** The end of the last piece, too short to hold a hash part. */
  #tail = Buffer.alloc(0);

  /** @param hashParts those that are looked for */
  constructor(hashParts: Iterable<string>) {
    this.#wanted = new Set(hashParts);
  }

  /** Looks at the next piece. */
  scan(piece: Uint8Array): void {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    if (this.#tail.length > 0) this.#look(Buffer.concat([this.#tail, bytes.subarray(0, HASH_LENGTH - 1)]));
    this.#look(bytes);
    const rest = bytes.length >= HASH_LENGTH - 1 ? bytes : Buffer.concat([this.#tail, bytes]);
    this.#tail = Buffer.from(rest.subarray(Math.max(rest.length - HASH_LENGTH + 1, 0)));
  }

  /** What comes next does not follow what came until now. */
  end(): void {
    this.#tail = Buffer.alloc(0);
  }

  #look(bytes: Buffer): void {
    const last = bytes.length - HASH_LENGTH;
    // Of the 32 bytes from `at`, so many from the front are known to be fit.
    let fit = 0;
    for (let at = 0; at <= last; ) {
      let i = HASH_LENGTH - 1;
      while (i >= fit && IS_HASH_CHARACTER[bytes[at + i] as number] === 1) i--;
      if (i >= fit) {
        // Nothing that holds this byte can match; what follows it up to the end of the 32 is fit.
        at += i + 1;
        fit = HASH_LENGTH - 1 - i;
        continue;
      }
      const text = bytes.toString("latin1", at, at + HASH_LENGTH);
      if (this.#wanted.has(text)) this.found.add(text);
      at++;
      fit = HASH_LENGTH - 1;
    }
  }
}
