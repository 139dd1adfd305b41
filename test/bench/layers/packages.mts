import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Closure, createClosure, type StorePath } from "../../../src/index.js";

/** What a store path is made of. */
export interface Package {
  readonly version: string;
  /** Bytes. */
  readonly size: number;
  readonly depends: readonly string[];
}

/** Packages by name: what a release is made of. */
export type Packages = ReadonlyMap<string, Package>;

/** Debian's packages of a few images, in releases that follow each other; see scripts/make-debian-packages.mjs. */
export interface Archive {
  /** What each image is asked to hold. */
  readonly images: ReadonlyMap<string, readonly string[]>;
  readonly releases: ReadonlyMap<string, Packages>;
}

export function readArchive(): Archive {
  const file = join(process.cwd(), "testdata/packages/debian.json");
  const { images, releases } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly images: Readonly<Record<string, readonly string[]>>;
    readonly releases: Readonly<Record<string, Readonly<Record<string, Package>>>>;
  };
  return {
    images: new Map(Object.entries(images)),
    releases: new Map(Object.entries(releases).map(([name, packages]) => [name, new Map(Object.entries(packages))])),
  };
}

/** What the top of an image is called: people's own program, its settings, and what starts them. */
export const APP = "app";
export const TOP = "entrypoint";

const APP_SIZE = 4_000_000;

/** The packages of an image with the program it is for. */
export function imagePackages(packages: Packages, roots: readonly string[], name: string): Packages {
  return new Map([
    ...packages,
    [APP, { version: `${name}-1`, size: APP_SIZE, depends: roots }],
    ["settings", { version: `${name}-1`, size: 12_000, depends: [] }],
    [TOP, { version: `${name}-1`, size: 2_000, depends: [APP, "settings"] }],
  ]);
}

const BASE_32 = "0123456789abcdfghijklmnpqrsvwxyz";

/**
 * The closure that Nix would have of an image's packages: a store path's hash is that of everything it is built from, so a change renames
 * all that refer to it. Debian's few cycles are cut where a walk from the top closes them.
 */
export function closureOf(packages: Packages): Closure {
  const paths = new Map<string, StorePath>();
  const references = new Map<StorePath, { readonly size: number; readonly references: readonly StorePath[] }>();
  const walking = new Set<string>();
  const visit = (name: string): StorePath => {
    const known = paths.get(name);
    if (known !== undefined) return known;
    const { version, size, depends } = packages.get(name) as Package;
    walking.add(name);
    const refers = depends.filter((other) => !walking.has(other) && packages.has(other)).map(visit);
    walking.delete(name);
    const path = storePath(`${name}-${version}`, refers);
    paths.set(name, path);
    references.set(path, { size, references: refers });
    return path;
  };
  visit(TOP);
  return createClosure({
    storeDir: "/nix/store",
    objects: [...references].map(([path, { size, references }]) => ({
      path,
      narHash: undefined,
      narSize: size,
      references,
    })),
    source: "the packages",
  });
}

function storePath(name: string, references: readonly StorePath[]): StorePath {
  const digest = createHash("sha256")
    .update([name, ...references].join("\n"))
    .digest();
  const hash = Array.from({ length: 32 }, (_, i) => BASE_32[(digest[i] as number) & 31]).join("");
  return `/nix/store/${hash}-${name.replace(/[^0-9a-zA-Z+\-._?=]/g, "_")}` as StorePath;
}
