import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "./command.js";
import type { RealStore } from "./real-store.js";

/** Where the shared libraries of a store's packages are: for LD_LIBRARY_PATH, as Debian's programs look in /lib. */
export function libraryDirectories({ storeRoot, packages }: RealStore): readonly string[] {
  return Object.values(packages).flatMap((path) =>
    ["lib", "usr/lib"].flatMap((lib) => {
      const place = join(storeRoot, path, lib);
      const names = lstatSync(place, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(place) : [];
      return names.filter((name) => name.endsWith("-linux-gnu")).map((name) => `${path}/${lib}/${name}`);
    }),
  );
}

/** What an image needs for Debian's programs, linked dynamically, to run in it from where contents put them. */
export function dynamicPrograms(store: RealStore): {
  readonly files: readonly { readonly target: string; readonly link: string }[];
  readonly env: readonly string[];
} {
  return {
    files: [{ target: "/lib64/ld-linux-x86-64.so.2", link: store.dynamicBash[0] as string }],
    env: [`LD_LIBRARY_PATH=${libraryDirectories(store).join(":")}`],
  };
}

/** An image with Nix, bash and coreutils of the store of the kind `nix`. */
export function nixSystem(store: RealStore) {
  const { storeRoot, packages } = store;
  const [nix, bash, coreutils] = [packages["nix-bin"], packages.bash, packages.coreutils] as [string, string, string];
  const { files, env } = dynamicPrograms(store);
  return {
    bash,
    spec: {
      closure: { storeRoot },
      contents: [nix, bash, coreutils],
      files,
      helpers: ["fakeNss"],
      config: { Env: env },
    },
    /** What Nix says outside. */
    requisites: async (path: string): Promise<readonly string[]> => {
      const options = ["--store", `local?root=${storeRoot}`, "--query", "--requisites", path];
      return (await runOk("nix-store", options)).trimEnd().split("\n").sort();
    },
  };
}
