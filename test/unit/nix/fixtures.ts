import { readFileSync } from "node:fs";
import type { Closure, StoreObject } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";

export const CLOSURES = "testdata/closures";

export function fixture(name: string): string {
  return readFileSync(`${CLOSURES}/${name}`, "utf8");
}

/** A store path with a hash made of the name's first letter: `path("app")` is `/nix/store/aaa…-app`. */
export function path(name: string, storeDir = "/nix/store"): StorePath {
  return `${storeDir}/${name.slice(0, 1).repeat(32)}-${name}` as StorePath;
}

export function object(name: string, references: readonly string[] = [], more: Partial<StoreObject> = {}): StoreObject {
  return {
    path: path(name),
    narHash: undefined,
    narSize: undefined,
    references: references.map((reference) => path(reference)),
    ...more,
  };
}

/** What every complete form of a closure tells: no derivers and content addresses. */
export function graphOf(closure: Closure) {
  return {
    storeDir: closure.storeDir,
    roots: closure.roots,
    objects: [...closure.objects.values()].map(({ path, narHash, narSize, references }) => ({
      path,
      narHash,
      narSize,
      references,
    })),
  };
}
