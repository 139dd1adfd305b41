import { chmodSync, cpSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "./cli.js";

export interface SampleStore {
  /** For `--store-root`. */
  readonly storeRoot: string;
  /** For `--closure`: closure JSON with true hashes and sizes. */
  readonly closureFile: string;
}

/**
 * Copies testdata/sample-store into a new directory below `directory` and gives the copy the modes that Nix would (Git keeps
 * the executable bit only). It is about 20 entries: five store paths, one with a reference to itself.
 */
export function copySampleStore(directory: string): SampleStore {
  const storeRoot = join(directory, "sample-store");
  cpSync(join(PROJECT, "testdata", "sample-store"), storeRoot, { recursive: true, verbatimSymlinks: true });
  const store = join(storeRoot, "nix", "store");
  for (const entry of readdirSync(store)) canonicaliseModes(join(store, entry));
  return { storeRoot, closureFile: join(storeRoot, "closure.json") };
}

/** Read-only, and executable for all or nobody. Directories stay writable to their owner, for the test to remove them. */
function canonicaliseModes(path: string): void {
  const stat = lstatSync(path);
  if (stat.isDirectory()) {
    for (const name of readdirSync(path)) canonicaliseModes(join(path, name));
    chmodSync(path, process.getuid?.() === 0 ? 0o555 : 0o755);
  } else if (!stat.isSymbolicLink()) {
    chmodSync(path, (stat.mode & 0o100) === 0 ? 0o444 : 0o555);
  }
}
