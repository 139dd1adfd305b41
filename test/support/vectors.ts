import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { StorePath } from "../../src/nix/store-path.js";

/** Reads `testdata/vectors/<name>`: inputs with what nixpkgs' and nix2container's programs gave for them. */
export function readVectors<T>(name: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(`../../testdata/vectors/${name}`, import.meta.url), "utf8")) as readonly T[];
}

export interface TreeVectorEntry {
  readonly path?: string;
  readonly pathB64?: string;
  readonly type: "directory" | "file" | "symlink" | "hardlink";
  readonly mode?: number;
  readonly text?: string;
  readonly fill?: number;
  readonly size?: number;
  readonly target?: string;
  readonly to?: string;
  readonly toB64?: string;
}

/** Of trees.json: trees, and what both programs made of them. */
export interface TreeVector {
  readonly storePaths: Readonly<Record<string, readonly TreeVectorEntry[]>>;
  readonly layers: readonly (readonly StorePath[])[];
  readonly ownership: { uid?: string; gid?: string; uname?: string; gname?: string; mtime?: string };
  readonly dockertools: readonly string[];
  readonly nix2container: readonly { readonly digest: string; readonly size: number }[];
  readonly graft?: {
    readonly path: StorePath;
    readonly rewrite: { readonly regex: string; readonly repl: string };
    readonly perms: readonly {
      regex: string;
      mode?: string;
      uid?: number;
      gid?: number;
      uname?: string;
      gname?: string;
    }[];
    readonly nix2container: { readonly digest: string; readonly size: number };
  };
}

/** Makes a temporary store root holding the store paths; gives its directory and a function that removes it. */
export function makeStore(storePaths: Readonly<Record<string, readonly TreeVectorEntry[]>>): {
  readonly root: string;
  readonly remove: () => void;
} {
  const root = mkdtempSync(join(tmpdir(), "oci-nix-vectors-"));
  const modes: [Buffer, number][] = [];
  for (const [storePath, entries] of Object.entries(storePaths)) {
    const base = Buffer.from(root + storePath);
    mkdirSync(dirname(base.toString()), { recursive: true });
    const below = (text?: string, base64?: string): Buffer => {
      const relative = base64 === undefined ? Buffer.from(text ?? "") : Buffer.from(base64, "base64");
      return relative.length === 0 ? base : Buffer.concat([base, Buffer.from("/"), relative]);
    };
    for (const entry of entries) {
      const path = below(entry.path, entry.pathB64);
      if (entry.type === "directory") mkdirSync(path);
      else if (entry.type === "file") writeFileSync(path, entry.text ?? Buffer.alloc(entry.size ?? 0, entry.fill ?? 0));
      else if (entry.type === "symlink") symlinkSync(entry.target ?? "", path);
      else linkSync(below(entry.to, entry.toB64), path);
      if (entry.mode !== undefined && (entry.type === "directory" || entry.type === "file"))
        modes.push([path, entry.mode]);
    }
  }
  for (const [path, mode] of modes.reverse()) chmodSync(path, mode);
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}
