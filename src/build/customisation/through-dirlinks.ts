import type { ByteString } from "../../core/byte-string.js";
import type { JoinedTree } from "./joined-tree.js";

const MAX_LINKS = 40;

/**
 * Where a directory of a tree is whose last component may be a symlink in it: the directory that this leads to by relative symlinks. The path
 * itself where it is no symlink, or one that leads to no directory of the tree.
 */
export function throughDirlinks(tree: JoinedTree, path: ByteString): ByteString {
  if (tree.at(path)?.type !== "symlink") return path;
  const left = componentsOf(path).reverse();
  let at = "";
  let links = 0;
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    if (name === "..") {
      // The root of the tree is not that of the image while it is being made.
      if (at === "") return path;
      at = at.slice(0, at.lastIndexOf("/"));
      continue;
    }
    const piece = tree.at(`${at}/${name}`);
    if (piece?.type === "directory") {
      at = `${at}/${name}`;
    } else if (piece?.type === "symlink" && !piece.linkTarget.startsWith("/") && ++links <= MAX_LINKS) {
      left.push(...componentsOf(piece.linkTarget).reverse());
    } else {
      return path;
    }
  }
  return at;
}

function componentsOf(path: ByteString): ByteString[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
