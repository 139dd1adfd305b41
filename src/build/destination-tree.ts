import { lstatSync, readlinkSync } from "node:fs";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import { compareStrings, describeErrno, OciNixError } from "../core/errors.js";
import type { Device } from "../core/generated-object.js";
import { sameContents } from "../core/same-contents.js";
import type { EntryList, EntryType, Ownership } from "../tar/entry-list.js";
import type { Found } from "./store-walk.js";

/** Where two directories meet, the mode and owner of the heavier one stand. */
export const Weight = { cameAlong: 0, generated: 1, ruled: 2 } as const;
export type Weight = (typeof Weight)[keyof typeof Weight];

/** What stands at one place of the image. */
export interface Placed {
  readonly type: EntryType;
  readonly mode: number;
  readonly owner: Ownership;
  readonly size: number;
  readonly linkTarget: ByteString;
  /** Where it is read. */
  readonly source: ByteString;
  /** Who decided mode and owner; see {@link Weight}. */
  readonly weight: Weight;
  /** The bytes of a file that exists nowhere; `source` then says what it is. */
  readonly contents?: Uint8Array | undefined;
  /** Of a character or block device. */
  readonly device?: Device | undefined;
}

/** A whole store path at its own place. It is walked when it is listed, and never held. */
export interface Subtree {
  /** Where it is read. */
  readonly start: ByteString;
  /** Decides mode and owner of what is found in it. */
  readonly attributesOf: (found: Found) => Pick<Placed, "mode" | "owner">;
  /** Visits everything in it, in the order of the archive. */
  readonly walk: (visit: (found: Found) => void) => Promise<void>;
}

/** There may be a million of them: what most do not have is not made. */
class Node {
  placed: Placed | undefined = undefined;
  /** By layer. */
  subtrees: Map<number, Subtree> | undefined = undefined;
  children: Map<ByteString, Node> | undefined = undefined;
  /** The layers that have something here or below, ascending; shared between nodes. */
  layers: readonly number[] = NO_LAYERS;

  /** A store path of some layer that stands here. */
  get subtree(): Subtree | undefined {
    return this.subtrees?.values().next().value;
  }

  child(name: ByteString): Node {
    this.children ??= new Map();
    let child = this.children.get(name);
    if (child === undefined) {
      child = new Node();
      this.children.set(name, child);
    }
    return child;
  }

  touch(layer: number): void {
    if (this.layers.length === 0) this.layers = onlyLayer(layer);
    else if (!this.layers.includes(layer)) this.layers = [...this.layers, layer];
  }
}

const NO_LAYERS: readonly number[] = [];
const ONLY_LAYER: (readonly number[])[] = [];

function onlyLayer(layer: number): readonly number[] {
  ONLY_LAYER[layer] ??= [layer];
  return ONLY_LAYER[layer] as readonly number[];
}

/** Mode and owner of a directory that no layer's content holds. */
export interface DefaultDirectory {
  readonly mode: number;
  readonly owner: Ownership;
}

/**
 * The layers of an image keyed by where things go, built before anything is written: who wins where several layers, or several contents
 * of one layer, want the same place is settled here once.
 *
 * Directories may coincide; one that a rule speaks of decides mode and owner in all layers. Files may coincide where their contents are
 * equal, symlinks where their targets are. Everything else is a conflict, so that no layer hides another's file.
 */
export class DestinationTree {
  readonly #root = new Node();

  /**
   * Puts a whole store path at an absolute path. All of them come before the first {@link place}, layer by layer.
   * @throws OciNixError `conflict` where one layer has it twice
   */
  placeSubtree(layer: number, path: ByteString, subtree: Subtree): void {
    const node = this.#descend(layer, componentsOf(path));
    node.subtrees ??= new Map();
    if (node.subtrees.has(layer)) throw new OciNixError("conflict", `${displayBytes(path)} is in one layer twice`);
    node.subtrees.set(layer, subtree);
  }

  /**
   * Puts an object at an absolute path; an empty path is the root. Layers come in ascending order.
   * @throws OciNixError `conflict` naming both sources where something else is there already, in this layer or in another;
   *   `invalid-input` for a path with `.` or `..` in it; `unreadable` where contents cannot be compared
   */
  place(layer: number, path: ByteString, placed: Placed): void {
    const components = componentsOf(path);
    if (components.some((name) => name === "." || name === "..")) {
      throw new OciNixError(
        "invalid-input",
        `${displayBytes(placed.source)} cannot be placed at ${displayBytes(path)}`,
        {
          hint: "a rewrite must give a path without . and ..",
        },
      );
    }
    let node = this.#root;
    for (const [i, name] of components.entries()) {
      const { subtree } = node;
      if (subtree !== undefined) {
        checkInSubtree(subtree, components.slice(i), path, placed);
        return;
      }
      if (node.placed !== undefined && node.placed.type !== "directory") {
        throw blocked(`/${components.slice(0, i).join("/")}`, node.placed, path, placed);
      }
      node.touch(layer);
      node = node.child(name);
    }
    const { subtree } = node;
    if (subtree !== undefined) {
      checkInSubtree(subtree, [], path, placed);
      return;
    }
    if (placed.type !== "directory" && node.children !== undefined) {
      throw blocked(path, placed, path, anyBelow(node));
    }
    node.placed = node.placed === undefined ? placed : merge(path, node.placed, placed);
    node.touch(layer);
  }

  #descend(layer: number, components: readonly ByteString[]): Node {
    let node = this.#root;
    node.touch(layer);
    for (const name of components) {
      node = node.child(name);
      node.touch(layer);
    }
    return node;
  }

  /** What the directory at this path is to be wherever it is written: what was placed there, or undefined. */
  directoryAt(path: ByteString): DefaultDirectory | undefined {
    let node: Node | undefined = this.#root;
    for (const name of componentsOf(path)) node = node?.children?.get(name);
    return node?.placed;
  }

  /**
   * Appends what one layer holds, in byte order of the names, each component by itself.
   * @param options.withRoot whether the root directory is an entry of its own
   * @param options.parents for directories that nobody placed
   */
  async appendTo(
    entries: EntryList,
    layer: number,
    options: { readonly withRoot: boolean; readonly parents: DefaultDirectory },
  ): Promise<void> {
    const append = (node: Node, name: ByteString, depth: number): Promise<void> | undefined => {
      const subtree = node.subtrees?.get(layer);
      if (subtree !== undefined) {
        return subtree.walk((found) => {
          const { type, size, linkTarget } = found;
          const entry = { type, size, linkTarget, ...subtree.attributesOf(found), depth: depth + found.depth };
          if (found.depth > 0) entries.append({ ...entry, name: found.name });
          else entries.append({ ...entry, name, source: found.source });
        });
      }
      if (depth >= 0) entries.append({ ...(node.placed ?? emptyDirectory(options.parents)), depth, name });
      return node.children === undefined ? undefined : appendAll(node.children, depth + 1);
    };
    const appendAll = async (children: ReadonlyMap<ByteString, Node>, depth: number): Promise<void> => {
      for (const name of [...children.keys()].sort(compareStrings)) {
        const node = children.get(name) as Node;
        if (!node.layers.includes(layer)) continue;
        const waiting = append(node, name, depth);
        // A promise a file would cost more than the file.
        if (waiting !== undefined) await waiting;
      }
    };
    // A layer that holds nothing has no root either.
    if (this.#root.layers.includes(layer)) await append(this.#root, "", options.withRoot ? 0 : -1);
  }
}

function componentsOf(path: ByteString): ByteString[] {
  return path.split("/").filter((name) => name !== "");
}

function emptyDirectory({ mode, owner }: DefaultDirectory): Omit<Placed, "weight"> {
  return { type: "directory", mode, owner, size: 0, linkTarget: "", source: "" };
}

/** Where something below a node comes from. */
function anyBelow(node: Node): Pick<Placed, "source"> {
  for (let at: Node | undefined = node; at !== undefined; at = at.children?.values().next().value) {
    if (at.placed !== undefined) return at.placed;
    if (at.subtree !== undefined) return { source: at.subtree.start };
  }
  throw new Error("a node without anything below it");
}

/** Something that is no directory, and something below it. */
function blocked(at: ByteString, placed: Placed, path: ByteString, other: Pick<Placed, "source">): OciNixError {
  const [one, two] = [displayBytes(placed.source), displayBytes(other.source)];
  return new OciNixError(
    "conflict",
    `${displayBytes(at)} comes from ${one} as a ${placed.type}, but ${two} goes to ${at === path ? "a path below it" : displayBytes(path)}`,
    { hint: "drop one of the two sources" },
  );
}

/** One of two that want the same place. @throws OciNixError `conflict` where they differ */
function merge(path: ByteString, first: Placed, second: Placed): Placed {
  const isSpecial = first.type !== "file" && first.type !== "directory" && first.type !== "symlink";
  if (isSpecial || first.type !== second.type) throw conflict(path, first, second);
  if (first.type === "symlink" && first.linkTarget !== second.linkTarget) throw conflict(path, first, second);
  if (first.type === "file" && !sameContents(first, second)) throw conflict(path, first, second);
  if (first.weight !== second.weight) return first.weight > second.weight ? first : second;
  const agree = first.mode === second.mode && sameOwner(first.owner, second.owner);
  // Directories that no rule speaks of need not agree: the first one stands.
  if (agree || first.type === "symlink" || (first.type === "directory" && first.weight !== Weight.ruled)) return first;
  const what = (placed: Placed) =>
    `${placed.mode.toString(8).padStart(4, "0")} ${placed.owner.uid}:${placed.owner.gid}`;
  throw new OciNixError(
    "conflict",
    `${displayBytes(path)} comes from ${displayBytes(first.source)} as ${what(first)} and from ${displayBytes(second.source)} as ${what(second)}`,
    {
      hint: first.weight === Weight.ruled ? "let both say the same" : "say with a permission rule which it shall be",
    },
  );
}

/** Below a store path that the image holds as it is, nothing may differ from it. */
function checkInSubtree(subtree: Subtree, rest: readonly ByteString[], path: ByteString, placed: Placed): void {
  const there = [subtree.start, ...rest].join("/");
  let type: EntryType | undefined;
  let size = 0;
  let linkTarget = "";
  const isSame = () => {
    if (type === "directory") return placed.weight !== Weight.ruled;
    if (type === "symlink") return linkTarget === placed.linkTarget;
    return sameContents({ source: there, size }, placed);
  };
  try {
    const stat = lstatSync(fsPath(there), { throwIfNoEntry: false });
    if (stat !== undefined) {
      type = stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "file";
      size = stat.isFile() ? stat.size : 0;
      if (type === "symlink") linkTarget = readlinkSync(fsPath(there), { encoding: "latin1" });
    }
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${displayBytes(there)}: ${describeErrno(error)}`, {
      cause: error,
    });
  }
  if (type === placed.type && isSame()) return;
  throw new OciNixError(
    "conflict",
    `${displayBytes(placed.source)} goes to ${displayBytes(path)}, in the store path ${displayBytes(subtree.start)}, which the image holds itself`,
    { hint: "a store path cannot be changed: drop what lies below /nix/store in the other source" },
  );
}

function conflict(path: ByteString, first: Placed, second: Placed): OciNixError {
  const [a, b] = [displayBytes(first.source), displayBytes(second.source)];
  const targets = () => `${displayBytes(first.linkTarget)} and ${displayBytes(second.linkTarget)}`;
  const how =
    first.type !== second.type
      ? `as a ${first.type} and as a ${second.type}`
      : first.type === "file"
        ? "with different contents"
        : `with different targets (${targets()})`;
  return new OciNixError("conflict", `${displayBytes(path)} comes from both ${a} and ${b}, ${how}`, {
    hint: "drop one of the two sources",
  });
}

function sameOwner(a: Ownership, b: Ownership): boolean {
  return a.uid === b.uid && a.gid === b.gid && a.uname === b.uname && a.gname === b.gname;
}
