import { type ByteString, displayBytes } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import type { EntryList, NewEntry, Ownership } from "../tar/entry-list.js";

/** What stands at one place of the image. */
export type Placed = Omit<NewEntry, "depth" | "name" | "source"> & { readonly source: ByteString };

interface Node {
  placed: Placed | undefined;
  readonly children: Map<ByteString, Node>;
}

/**
 * A layer's entries keyed by where they go, built before anything is written: for contents that are moved, where source order says
 * nothing about the archive's order and two sources may meet.
 */
export class DestinationTree {
  readonly #root: Node = { placed: undefined, children: new Map() };

  /**
   * Puts an object at an absolute path; an empty path is the root.
   * @throws OciNixError `conflict` where something else is there already
   */
  place(path: ByteString, placed: Placed): void {
    let node = this.#root;
    for (const name of path.split("/")) {
      if (name === "") continue;
      let child = node.children.get(name);
      if (child === undefined) {
        child = { placed: undefined, children: new Map() };
        node.children.set(name, child);
      }
      node = child;
    }
    if (node.placed !== undefined && !sameDirectory(node.placed, placed)) {
      throw new OciNixError(
        "conflict",
        `${displayBytes(path)} comes from both ${displayBytes(node.placed.source)} and ${displayBytes(placed.source)}`,
        { hint: "drop one of the two sources" },
      );
    }
    node.placed = placed;
  }

  /**
   * Appends everything in byte order of the names, each component by itself. Directories nobody placed are 0755 with owner `parents`.
   * @param withRoot whether the root directory is an entry of its own
   */
  appendTo(entries: EntryList, options: { readonly withRoot: boolean; readonly parents: Ownership }): void {
    const append = (node: Node, name: ByteString, depth: number, path: ByteString) => {
      const placed = node.placed ?? {
        type: "directory",
        mode: 0o755,
        owner: options.parents,
        size: 0,
        linkTarget: "",
        source: "",
      };
      if (placed.type !== "directory" && node.children.size > 0) {
        throw new OciNixError(
          "conflict",
          `${path} is a ${placed.type} in ${displayBytes(placed.source)}, but other paths lie below it`,
        );
      }
      if (depth >= 0) entries.append({ ...placed, depth, name });
      const names = [...node.children.keys()].sort(compareStrings);
      for (const child of names)
        append(node.children.get(child) as Node, child, depth + 1, `${path}/${displayBytes(child)}`);
    };
    append(this.#root, "", options.withRoot ? 0 : -1, "");
  }
}

function sameDirectory(a: Placed, b: Placed): boolean {
  return (
    a.type === "directory" &&
    b.type === "directory" &&
    a.mode === b.mode &&
    a.owner.uid === b.owner.uid &&
    a.owner.gid === b.owner.gid &&
    a.owner.uname === b.owner.uname &&
    a.owner.gname === b.owner.gname
  );
}
