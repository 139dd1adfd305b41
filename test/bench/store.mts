import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const NIX_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz";

/** A store path as Nix names them, the same for the same number and name. */
export function storePathName(index: number, name: string): string {
  const digest = createHash("sha256").update(`${index} ${name}`).digest();
  const hash = Array.from(digest, (byte) => NIX_BASE32[byte & 31]).join("");
  return `/nix/store/${hash}-${name}`;
}

/** One object of a closure graph, as `nix path-info --json` writes it. */
export interface GraphObject {
  readonly path: string;
  readonly narSize: number;
  readonly references: readonly string[];
}

/** A store of generated files below a root of its own, with its closure graph as a file. */
export class GeneratedStore {
  readonly objects: GraphObject[] = [];
  readonly storeRoot: string;
  readonly graph: string;
  readonly #made = new Set<string>();

  constructor(storeRoot: string) {
    this.storeRoot = storeRoot;
    this.graph = join(storeRoot, "closure.json");
    mkdirSync(join(storeRoot, "nix", "store"), { recursive: true });
  }

  /** Adds a store object; the caller makes its files at the directory returned. */
  add(object: GraphObject): string {
    this.objects.push(object);
    const directory = join(this.storeRoot, object.path);
    mkdirSync(directory);
    return directory;
  }

  /** Writes the graph; nothing is added afterwards. */
  finish(): void {
    writeFileSync(this.graph, JSON.stringify(this.objects));
  }

  /** A directory, made only once. */
  directory(path: string): string {
    if (!this.#made.has(path)) {
      mkdirSync(path, { recursive: true });
      this.#made.add(path);
    }
    return path;
  }
}

/** Bytes that are no zeros; their pattern matters to nobody here. */
const PATTERN = Buffer.alloc(1 << 20, createHash("sha512").update("pattern").digest());

export function writePattern(file: string, size: number): void {
  const fd = openSync(file, "wx", 0o444);
  for (let done = 0; done < size; ) done += writeSync(fd, PATTERN, 0, Math.min(PATTERN.length, size - done));
  closeSync(fd);
}

export function writeSparse(file: string, size: number): void {
  const fd = openSync(file, "wx", 0o444);
  ftruncateSync(fd, size);
  closeSync(fd);
}

const FILES_A_DIRECTORY = 999;
const SIXTEEN_BYTES = "0123456789abcde\n";

/** Fills a directory with `entries` files and directories: every fourth file holds 16 bytes, the others nothing. */
export function writeManyEntries(store: GeneratedStore, directory: string, entries: number): void {
  let current = directory;
  for (let i = 0; i < entries; i++) {
    if (i % (FILES_A_DIRECTORY + 1) === 0) {
      current = store.directory(join(directory, `directory-${String(i).padStart(7, "0")}`));
    } else {
      writeFileSync(join(current, `file-${String(i).padStart(7, "0")}`), i % 4 === 0 ? SIXTEEN_BYTES : "");
    }
  }
}
