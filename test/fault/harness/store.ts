import { chmodSync, lutimesSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { narHash } from "../../../src/nix/nar.js";
import { runCli } from "../../support/cli.js";
import { expectOk } from "../../support/command.js";
import { noise } from "../../support/registry-images.js";

/** A store of a few megabytes with a Nix database. */
export interface FaultStore {
  /** For `--store-root`. */
  readonly storeRoot: string;
  /** What the old state is made of: some of the store paths. */
  readonly oldRoot: string;
  /** What the new state is made of: all of them. */
  readonly newRoot: string;
}

const PATHS = 8;
const FILES = 4;
const FILE_SIZE = 150_000;

/** Makes the store, the same one each time, below a directory. Each store path refers to the one before it. */
export async function makeFaultStore(directory: string): Promise<FaultStore> {
  const storeRoot = join(directory, "store-root");
  mkdirSync(join(storeRoot, "nix/store"), { recursive: true });
  const objects: { path: string; narHash: string; narSize: number; references: readonly string[] }[] = [];
  for (let i = 0; i < PATHS; i++) {
    const path = `/nix/store/${String(i).repeat(32)}-part-${i}`;
    const at = join(storeRoot, path);
    mkdirSync(join(at, "lib/empty"), { recursive: true });
    for (let n = 0; n < FILES; n++) {
      // Half of it can be packed.
      const bytes = Buffer.concat([noise(FILE_SIZE, `${i} ${n}`), Buffer.alloc(FILE_SIZE, `${path} ${n}`)]);
      writeFileSync(join(at, "lib", `file-${n}`), bytes);
    }
    writeFileSync(join(at, "lib", "nothing"), "");
    writeFileSync(join(at, "run"), `#!${path}/lib/file-0\n`);
    symlinkSync("lib/file-0", join(at, "link"));
    canonicalise(at);
    const references = objects.slice(-1).map((object) => object.path);
    objects.push({ path, narHash: await narHash(at), narSize: 2 * FILES * FILE_SIZE, references });
  }
  const graph = join(directory, "closure.json");
  writeFileSync(graph, JSON.stringify(objects));
  expectOk(await runCli(["nix-db", graph, "--store-root", storeRoot, "--to", storeRoot]), "nix-db");
  const path = (i: number) => objects[i]?.path ?? "";
  return { storeRoot, oldRoot: path(2), newRoot: path(PATHS - 1) };
}

/** As Nix leaves it. */
function canonicalise(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const at = join(path, entry.name);
    if (entry.isDirectory()) canonicalise(at);
    else {
      if (!entry.isSymbolicLink()) chmodSync(at, entry.name === "run" ? 0o555 : 0o444);
      lutimesSync(at, 1, 1);
    }
  }
  chmodSync(path, 0o555);
  lutimesSync(path, 1, 1);
}
