import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's directory, as seen from where this file is compiled to. */
export const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));

/** The script that computes digests only. */
export const DIGEST_SCRIPT = join(PROJECT, "test", "bench", "digest-layers.mjs");

/** The script that packs files with our codecs. */
const COMPRESS_SCRIPT = join(PROJECT, "test", "bench", "compress-layers.mjs");

/** The script that makes an ext4 file system. */
const EXT4_SCRIPT = join(PROJECT, "test", "bench", "make-ext4.mjs");

/** Makes a directory for PATH in which `oci-nix` is this project's program and `node` is this very Node. */
export function makeBinDirectory(parent: string): string {
  const bin = join(parent, "bin");
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin, { recursive: true });
  symlinkSync(join(PROJECT, "bin", "oci-nix.js"), join(bin, "oci-nix"));
  symlinkSync(DIGEST_SCRIPT, join(bin, "digest-layers"));
  symlinkSync(COMPRESS_SCRIPT, join(bin, "compress-layers"));
  symlinkSync(EXT4_SCRIPT, join(bin, "make-ext4"));
  symlinkSync(process.execPath, join(bin, "node"));
  return bin;
}
