import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { PROJECT } from "./project.mjs";
import {
  GeneratedStore,
  type GraphObject,
  storePathName,
  writeManyEntries,
  writePattern,
  writeSparse,
} from "./store.mjs";

/** Something to make an image of. */
export interface Corpus {
  readonly name: string;
  readonly description: string;
  readonly storeRoot: string;
  /** Absent: every store path of the graph that no other refers to. */
  readonly roots?: readonly string[];
  /** Absent: the Nix database below the store root. */
  readonly graph?: string;
  /** What is in the graph; absent with it. */
  readonly objects?: readonly GraphObject[];
}

/** Commands that would take hours, or prove nothing, on a corpus. */
export const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  sparse: ["tar-sha256sum", "dockertools"],
};

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const SPARSE_BYTES = 20_000_000_000;
const MANY = 1_000_000;

interface Recipe {
  readonly description: string;
  /** What it needs: bytes on disk, and inodes. */
  readonly bytes: number;
  readonly entries: number;
  fill(store: GeneratedStore): void;
}

function sparseRecipe(size: number): Recipe {
  return {
    description: `one sparse file of ${size / 1e9} GB`,
    bytes: MIB,
    entries: 10,
    fill(store) {
      const directory = store.add({ path: storePathName(0, "sparse"), narSize: size, references: [] });
      writeSparse(join(directory, "sparse-file"), size);
    },
  };
}

const RECIPES: Readonly<Record<string, Recipe>> = {
  half: {
    description: "65 store paths, 2 GiB; one layer holds half of all bytes, most of them in one file",
    bytes: 2 * GIB,
    entries: 10_000,
    fill(store) {
      const others = Array.from({ length: 64 }, (_, i) => storePathName(i, `part-${i}`));
      for (const [i, path] of others.entries()) {
        const directory = store.add({ path, narSize: 16 * MIB, references: others.slice(i + 1, i + 3) });
        for (let file = 0; file < 64; file++) writePattern(join(directory, `file-${file}`), 256 * 1024);
      }
      const directory = store.add({ path: storePathName(64, "large"), narSize: GIB, references: others });
      writePattern(join(directory, "one-file"), 768 * MIB);
      for (let file = 0; file < 4096; file++) writePattern(join(directory, `file-${file}`), 64 * 1024);
    },
  },
  sparse: sparseRecipe(SPARSE_BYTES),
  million: {
    description: `${MANY} entries in one layer, empty or 16 bytes`,
    bytes: 5 * GIB,
    entries: MANY,
    fill(store) {
      const directory = store.add({ path: storePathName(0, "million"), narSize: MANY * 112, references: [] });
      writeManyEntries(store, directory, MANY);
    },
  },
};

/** Built from Debian packages; kept. */
const REAL_STORES = ["small", "large", "big"];

export const CORPUS_NAMES = [...REAL_STORES, ...Object.keys(RECIPES)] as const;

/** The directory that corpora are made in: the one the tests keep their stores in. */
export function cacheDirectory(): string {
  const cache =
    process.env.OCI_NIX_TEST_CACHE ??
    (process.getuid?.() === 0
      ? "/var/cache/oci-nix-test"
      : join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "oci-nix-test"));
  const directory = join(cache, "bench");
  mkdirSync(directory, { recursive: true });
  return directory;
}

const temporary = new Set<string>();

/** Deletes what {@link generate} made and nobody removed yet. */
export function removeTemporary(): void {
  for (const directory of temporary) rmSync(directory, { recursive: true, force: true });
  temporary.clear();
}

/** Makes a corpus, lets `use` work with it, and deletes it if it was generated. */
export async function withCorpus(name: string, use: (corpus: Corpus) => Promise<void>): Promise<void> {
  if (REAL_STORES.includes(name)) return await use(realStore(name));
  const recipe = RECIPES[name];
  if (recipe === undefined) throw new Error(`no corpus is called ${name}: ${CORPUS_NAMES.join(", ")}`);
  await generate(name, recipe, use);
}

/** One directory with `entries` files in it: for seeing how time grows. */
export async function withEntries(entries: number, use: (corpus: Corpus) => Promise<void>): Promise<void> {
  const recipe: Recipe = {
    description: `${entries} entries in one layer`,
    bytes: entries * 5000,
    entries,
    fill(store) {
      const path = storePathName(entries, "entries");
      writeManyEntries(store, store.add({ path, narSize: entries * 112, references: [] }), entries);
    },
  };
  await generate(`entries-${entries}`, recipe, use);
}

/** What a store path refers to, by number, of `count` in all: lower numbers. */
export type Shape = (i: number, count: number) => readonly number[];

/** About as deep as real closures are. */
export const DEEP: Shape = (i) => [Math.floor(i / 2), Math.floor(i / 3), Math.floor(i * 0.9)];

/** `count` small store paths that refer to others. */
export async function withStorePaths(
  count: number,
  use: (corpus: Corpus) => Promise<void>,
  shape: Shape = DEEP,
): Promise<void> {
  const recipe: Recipe = {
    description: `${count} store paths of five entries`,
    bytes: count * 25_000,
    entries: count * 5,
    fill(store) {
      const paths = Array.from({ length: count }, (_, i) => storePathName(i, `package-${i}-1.${i % 10}`));
      for (const [i, path] of paths.entries()) {
        const below = new Set(shape(i, count).filter((j) => j >= 0 && j < i));
        const references = [...below].map((j) => paths[j] as string);
        const directory = store.add({ path, narSize: 1000 + ((i * 7919) % 5000), references });
        writePattern(join(store.directory(join(directory, "bin")), "program"), 1000);
        writePattern(join(store.directory(join(directory, "lib")), "library"), 100);
      }
    },
  };
  await generate(`paths-${count}`, recipe, use);
}

/** One file of `bytes` bytes that is a hole. */
export async function withSparseFile(bytes: number, use: (corpus: Corpus) => Promise<void>): Promise<void> {
  await generate(`sparse-${bytes}`, sparseRecipe(bytes), use);
}

async function generate(name: string, recipe: Recipe, use: (corpus: Corpus) => Promise<void>): Promise<void> {
  const storeRoot = join(placeFor(recipe), `oci-nix-bench-${name}-${process.pid}`);
  temporary.add(storeRoot);
  try {
    const store = new GeneratedStore(storeRoot);
    recipe.fill(store);
    store.finish();
    await use({ name, description: recipe.description, storeRoot, graph: store.graph, objects: store.objects });
  } finally {
    rmSync(storeRoot, { recursive: true, force: true });
    temporary.delete(storeRoot);
  }
}

const SHARED_MEMORY = "/dev/shm";
/** An inode of a tmpfs and its name, about. */
const TMPFS_ENTRY_BYTES = 1500;

/** Memory where it is few bytes, so that the disk has no part in it; the cache directory for the rest. */
function placeFor({ bytes, entries }: Recipe): string {
  const cache = cacheDirectory();
  const inMemory = bytes >= GIB && entries < MANY ? Number.POSITIVE_INFINITY : entries * TMPFS_ENTRY_BYTES;
  if (existsSync(SHARED_MEMORY) && free(SHARED_MEMORY) > 4 * inMemory) return SHARED_MEMORY;
  if (free(cache) < bytes + GIB) throw new Error(`${cache} has no room for ${Math.round(bytes / MIB)} MiB`);
  return cache;
}

function free(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

function realStore(kind: string): Corpus {
  const script = join(PROJECT, "scripts", "make-real-store.mjs");
  const stdio = ["ignore", "pipe", "inherit"] as const;
  const text = execFileSync(process.execPath, [script, kind], { encoding: "utf8", stdio: [...stdio] });
  const store = JSON.parse(text) as {
    readonly storeRoot: string;
    readonly roots: readonly string[];
    readonly storePaths: number;
    readonly narSize: number;
    readonly entries: number;
  };
  const gigabytes = (store.narSize / 1e9).toFixed(2);
  return {
    name: kind,
    description: `a real Nix store made of Debian packages: ${store.storePaths} store paths, ${store.entries} entries, ${gigabytes} GB`,
    storeRoot: store.storeRoot,
    roots: store.roots,
  };
}
