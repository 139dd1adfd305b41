import { OciNixError } from "../core/errors.js";

/** A file for a FAT file system: its path there, and its bytes or the file that has them. */
export type FatFile =
  | { readonly path: string; readonly contents: Uint8Array }
  | { readonly path: string; readonly source: string };

export interface FatTree {
  /** By path, without a `/` in front. */
  readonly files: ReadonlyMap<string, FatFile>;
  /** How many directory entries each directory has at most, by path; the root's is empty. */
  readonly directories: ReadonlyMap<string, number>;
}

/** `[` is a pattern to mtools; the rest FAT does not have. */
const NAME = /^(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))(?:(?!["*/:<>?\\|[\]])[ -~]){1,255}(?<![. ])$/i;
const LONG_NAME_PART = 13;
const MOST_ENTRIES = 65_536;

/**
 * Files and the directories that they are in, as FAT has them.
 * @throws OciNixError `invalid-input` for a name that cannot be; `conflict` for two names that are one to FAT
 */
export function fatTree(all: readonly FatFile[]): FatTree {
  const files = new Map<string, FatFile>();
  // The label is an entry of the root directory.
  const directories = new Map<string, number>([["", 1]]);
  const spellings = new Map<string, string>();
  const enter = (directory: string, name: string): string => {
    const path = directory === "" ? name : `${directory}/${name}`;
    const before = spellings.get(path.toLowerCase());
    if (before === path) return path;
    if (before !== undefined) {
      throw new OciNixError("conflict", `${before} and ${path} are one name to a FAT file system`);
    }
    spellings.set(path.toLowerCase(), path);
    const entries = (directories.get(directory) ?? 0) + 1 + Math.ceil(name.length / LONG_NAME_PART);
    if (entries > MOST_ENTRIES) throw new OciNixError("limit", `too many files for a FAT directory: /${directory}`);
    directories.set(directory, entries);
    return path;
  };
  for (const file of all) {
    const names = file.path.replace(/^\//, "").split("/");
    const wrong = names.find((name) => !NAME.test(name));
    if (wrong !== undefined) {
      throw new OciNixError(
        "invalid-input",
        `${JSON.stringify(file.path)} cannot be on a FAT file system because of ${JSON.stringify(wrong)}`,
        {
          hint: 'ASCII without any of "*/:<>?\\|[], no dot or space at the end, no name of a DOS device',
        },
      );
    }
    const name = names.pop() as string;
    let directory = "";
    for (const each of names) {
      directory = enter(directory, each);
      // Two of its entries are itself and the one that it is in.
      if (!directories.has(directory)) directories.set(directory, 2);
      if (files.has(directory))
        throw new OciNixError("conflict", `${directory} is a file and a directory on a FAT file system`);
    }
    const path = enter(directory, name);
    if (files.has(path)) throw new OciNixError("conflict", `${path} is there twice on a FAT file system`);
    if (directories.has(path))
      throw new OciNixError("conflict", `${path} is a file and a directory on a FAT file system`);
    files.set(path, file);
  }
  return { files, directories };
}
