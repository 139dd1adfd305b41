import { encodeUtf8 } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import { findStorePath, type StorePath } from "../../nix/store-path.js";
import { lookFor, type Wanted } from "../customisation/packages.js";
import type { StoreFiles } from "../customisation/store-files.js";

/** What somebody can do about a program that is not there. */
export const ADD =
  "--with /nix/store/… adds a store path in which it is looked for first; a shell may be given by --shell, too";

/** Finds files of packages in the image. */
export class Programs {
  readonly #files: StoreFiles;
  readonly #places: readonly Iterable<StorePath>[];

  /** @param places store paths, in the order in which they are looked into: the first place that has the file counts */
  constructor(files: StoreFiles, places: readonly Iterable<StorePath>[]) {
    this.#files = files;
    this.#places = places;
  }

  /** The file's name; undefined where nobody has it. @throws OciNixError `conflict` where several have */
  find(wanted: Wanted): string | undefined {
    for (const place of this.#places) {
      const { having } = lookFor(wanted, place, this.#files);
      if (having.length > 1) {
        throw new OciNixError("conflict", `several inputs have ${wanted.file}: ${having.join(", ")}`, { hint: ADD });
      }
      if (having[0] !== undefined) return `${having[0]}/${wanted.file}`;
    }
    return undefined;
  }

  /** As {@link find}. @throws OciNixError also `not-found` */
  need(wanted: Wanted): string {
    const found = this.find(wanted);
    if (found !== undefined) return found;
    throw new OciNixError(
      "not-found",
      `no input of the derivation is ${wanted.packages.join(" or ")} with ${wanted.file}`,
      { hint: ADD },
    );
  }
}

/**
 * The store path that a shell is in.
 * @throws OciNixError `usage` for a name that is not in the store, or that cannot stand in a script's first line; `not-found` where it is no
 *   program
 */
export function storePathOfShell(shell: string, storeDir: string, files: StoreFiles): StorePath {
  const found = findStorePath(shell);
  if (found?.storeDir !== storeDir || shell.length <= found.storePath.length || !/^[!-~]+$/.test(shell)) {
    throw new OciNixError("usage", `the shell ${JSON.stringify(shell)} is no file of a store path`, {
      hint: `for example ${storeDir}/…-bash-interactive-5.3/bin/bash`,
    });
  }
  const file = files.resolve(encodeUtf8(shell));
  if (file.type === "file" && file.executable) return found.storePath;
  throw new OciNixError("not-found", `the shell ${shell} is not there, or no program`, {
    hint: `build or fetch it first: nix-store --realise ${found.storePath}`,
  });
}
