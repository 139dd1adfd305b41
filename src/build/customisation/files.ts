import { readFileSync, statSync } from "node:fs";
import { encodeUtf8 } from "../../core/byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import type { Ownership } from "../../core/ownership.js";
import { findStorePath, type StorePath } from "../../nix/store-path.js";
import type { JoinedTree } from "./joined-tree.js";
import type { FileSpec } from "./spec.js";

/** Of all files that are copied: they are held in memory. */
const MAX_COPIED = 64 * 1024 * 1024;

/** The store path that a symlink leads to by its text; undefined where it leads elsewhere. */
export function storePathOfLink(file: FileSpec, storeDir: string): StorePath | undefined {
  const found = "link" in file ? findStorePath(file.link) : undefined;
  return found?.storeDir === storeDir ? found.storePath : undefined;
}

/**
 * Adds what a spec's `files` name.
 * @param owner of everything that says nothing else
 * @throws OciNixError `conflict` where two want one place; `invalid-input` for a target in the store, or a file that is none; `not-found` or
 *   `unreadable`; `limit` where the files to be copied have more than 64 MiB
 */
export function addFiles(
  tree: JoinedTree,
  files: readonly FileSpec[],
  { owner, storeDir }: { readonly owner: Ownership; readonly storeDir: string },
): void {
  let left = MAX_COPIED;
  for (const [i, file] of files.entries()) {
    const source = `files[${i}] of the spec`;
    if (file.target === storeDir || file.target.startsWith(`${storeDir}/`)) {
      throw new OciNixError(
        "invalid-input",
        `${source}: ${file.target} is in the store, which holds store paths only`,
        {
          hint: "put the file elsewhere",
        },
      );
    }
    const common = { path: encodeUtf8(file.target), owner: ownerOf(file, owner), source };
    if ("link" in file) {
      tree.add({ ...common, type: "symlink", mode: 0o777, linkTarget: encodeUtf8(file.link) });
    } else if ("directory" in file) {
      tree.add({ ...common, type: "directory", mode: file.mode ?? 0o755, claim: "firm" });
    } else {
      const contents = "path" in file ? readCopied(file.path, source, left) : bytesOf(file);
      if ("path" in file) left -= contents.length;
      tree.add({ ...common, type: "file", mode: file.mode ?? 0o644, contents });
    }
  }
}

function bytesOf(file: Extract<FileSpec, { readonly text: string } | { readonly bytes: string }>): Buffer {
  return "text" in file ? Buffer.from(file.text) : Buffer.from(file.bytes, "latin1");
}

function ownerOf(file: FileSpec, owner: Ownership): Ownership {
  // Names that are not given with other ids would be of somebody else.
  const nameOf = (given: string | undefined, id: number | undefined, name: string) =>
    given !== undefined ? encodeUtf8(given) : id === undefined ? name : id === 0 ? "root" : "";
  return {
    uid: file.uid ?? owner.uid,
    gid: file.gid ?? owner.gid,
    uname: nameOf(file.uname, file.uid, owner.uname),
    gname: nameOf(file.gname, file.gid, owner.gname),
  };
}

function readCopied(path: string, source: string, left: number): Buffer {
  const tooLarge = () =>
    new OciNixError("limit", `${source}: with ${path} there are more than ${MAX_COPIED} bytes to copy into the image`, {
      hint: "add large files to the store, and give the store path in contents or copyToRoot",
    });
  try {
    const stat = statSync(path);
    if (!stat.isFile()) {
      throw new OciNixError("invalid-input", `${source}: ${path} is no regular file`, {
        hint: "directories are added to the store, and given in contents or copyToRoot",
      });
    }
    if (stat.size > left) throw tooLarge();
    const contents = readFileSync(path);
    if (contents.length > left) throw tooLarge();
    return contents;
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
    throw new OciNixError(code, `${source}: cannot read ${path}: ${describeErrno(error)}`, { cause: error });
  }
}
