import type { ByteString } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { entryPath, shownName } from "./entry-path.js";
import { rootProblem } from "./entry-problems.js";
import { invalidImage } from "./layer.js";
import type { Inode, LayerEntries } from "./layer-entries.js";

interface Node {
  /** Undefined for a directory that no layer has an entry for. */
  inode: Inode | undefined;
  children: Map<ByteString, Node> | undefined;
}

/** Files, directories and the like that an image may have: as many take about a gigabyte of memory. */
const MAX_NODES = 2_000_000;

/**
 * The root file system that the layers of an image make together: image-spec, "Applying Changesets". Where engines would differ, or would
 * leave the root, it is an error: an entry that lies in a symlink or a file, a hard link to what is not there.
 */
export class RootFileSystem {
  readonly #root: Node = { inode: undefined, children: undefined };
  #nodes = 0;

  /**
   * Puts a layer on top: what it hides of the layers below is hidden first, wherever in the layer the whiteout is.
   * @param title what errors call the layer
   * @throws OciNixError `invalid-input` where an entry cannot be applied, `limit` where there are too many
   */
  apply(layer: LayerEntries, title: string): void {
    const symlinks = new Set<Node>();
    for (const path of layer.hiddenContents) this.#hideContents(path, symlinks);
    for (const path of layer.hiddenPaths) this.#hide(path, symlinks);
    for (const { path, inode } of layer.entries) this.#put(path, inode, title);
    // Engines do not agree on what a whiteout in a symlink hides. Docker writes them into directories that take a symlink's place.
    for (const { inode } of symlinks) {
      if (inode?.entry.type !== "symlink") continue;
      throw invalidImage(`${title}: a whiteout lies in ${shownName(inode.entry.name)}, a symlink of a lower layer`);
    }
  }

  /** All that is there, sorted by path, component by component: what is in a directory follows it. The root comes first, as an empty path. */
  *walk(): Generator<readonly [path: ByteString, inode: Inode | undefined], void, void> {
    const waiting: (readonly [ByteString, Node])[] = [["", this.#root]];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [path, { inode, children }] = next;
      yield [path, inode];
      if (children === undefined) continue;
      const prefix = path === "" ? "" : `${path}/`;
      for (const [name, node] of [...children].sort(([a], [b]) => compareStrings(b, a))) {
        waiting.push([prefix + name, node]);
      }
    }
  }

  #hideContents(path: ByteString, symlinks: Set<Node>): void {
    const node = this.#find(path, symlinks);
    if (node === undefined || !isDirectory(node)) return;
    this.#forget(node);
    node.children = undefined;
  }

  #hide(path: ByteString, symlinks: Set<Node>): void {
    const slash = path.lastIndexOf("/");
    const parent = this.#find(path.slice(0, Math.max(0, slash)), symlinks);
    const name = path.slice(slash + 1);
    const node = parent?.children?.get(name);
    if (node === undefined) return;
    this.#forget(node);
    this.#nodes--;
    parent?.children?.delete(name);
  }

  /** Where a whiteout is. Nothing lies in a file, or in a symlink. */
  #find(path: ByteString, symlinks: Set<Node>): Node | undefined {
    let at: Node | undefined = this.#root;
    for (const name of componentsOf(path)) {
      at = at.children?.get(name);
      if (at?.inode?.entry.type === "symlink") symlinks.add(at);
      if (at === undefined) return undefined;
    }
    return at;
  }

  #put(path: ByteString, inode: Inode, title: string): void {
    const { type, linkName, name } = inode.entry;
    const problem = rootProblem(inode.entry, path);
    if (problem !== undefined) throw invalidImage(`${title}: ${problem}`);
    // Before anything gives way to it.
    const linked = type === "link" ? this.#linkTarget(linkName, name, title) : undefined;
    let at = this.#root;
    for (const component of componentsOf(path)) {
      if (!isDirectory(at)) {
        const what = at.inode?.entry.type === "symlink" ? "a symlink" : "no directory";
        throw invalidImage(
          `${title}: ${shownName(name)} lies in ${shownName(at.inode?.entry.name ?? "")}, which is ${what}`,
        );
      }
      at.children ??= new Map();
      let child = at.children.get(component);
      if (child === undefined) {
        child = { inode: undefined, children: undefined };
        at.children.set(component, child);
        this.#count();
      }
      at = child;
    }
    if (type !== "directory") {
      this.#forget(at);
      at.children = undefined;
    }
    at.inode = linked ?? inode;
  }

  #linkTarget(linkName: ByteString, name: ByteString, title: string): Inode {
    const what = `${title}: ${shownName(name)} is a hard link to ${shownName(linkName)}`;
    const path = entryPath(linkName);
    if (path === undefined) throw invalidImage(`${what}, which has a component ".."`);
    let at: Node | undefined = this.#root;
    for (const component of componentsOf(path)) at = at?.children?.get(component);
    if (at === undefined) throw invalidImage(`${what}, which is not there`);
    if (isDirectory(at) || at.inode === undefined) throw invalidImage(`${what}, a directory`);
    return at.inode;
  }

  #count(): void {
    if (++this.#nodes <= MAX_NODES) return;
    throw new OciNixError("limit", `the image has more than ${MAX_NODES} files and directories`, {
      hint: "an image of so many is most likely made to do harm",
    });
  }

  /** Counts what is in a directory as gone. */
  #forget(node: Node): void {
    const waiting = [node];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (at.children === undefined) continue;
      this.#nodes -= at.children.size;
      for (const child of at.children.values()) if (child.children !== undefined) waiting.push(child);
    }
  }
}

function isDirectory({ inode }: Node): boolean {
  return inode === undefined || inode.entry.type === "directory";
}

function componentsOf(path: ByteString): readonly ByteString[] {
  return path === "" ? [] : path.split("/");
}
