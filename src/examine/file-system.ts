import type { ByteString } from "../core/byte-string.js";
import type { FileState, LayerFiles } from "./layer-files.js";

/** A file, or a directory with what is in it. */
export interface FileNode {
  /** Undefined for a directory that no layer has an entry for. */
  state: FileState | undefined;
  children: Map<ByteString, FileNode> | undefined;
}

/** What the layers of an image make together. */
export class FileSystem {
  readonly root: FileNode = { state: undefined, children: undefined };

  /** Puts a layer on top: what it hides is hidden first, then its entries are added. image-spec, "Applying Changesets". */
  apply(layer: LayerFiles): void {
    for (const path of layer.hiddenContents) {
      const node = this.#find(path);
      if (node !== undefined) node.children = undefined;
    }
    for (const path of layer.hiddenPaths) this.#remove(path);
    for (const [path, state] of layer.files) this.#put(path, state);
  }

  #find(path: ByteString): FileNode | undefined {
    let at: FileNode | undefined = this.root;
    for (const name of componentsOf(path)) at = at?.children?.get(name);
    return at;
  }

  #remove(path: ByteString): void {
    const slash = path.lastIndexOf("/");
    this.#find(path.slice(0, Math.max(0, slash)))?.children?.delete(path.slice(slash + 1));
  }

  #put(path: ByteString, state: FileState | undefined): void {
    let at = this.root;
    for (const name of componentsOf(path)) {
      if (at.state !== undefined && at.state.type !== "directory") at.state = undefined;
      at.children ??= new Map();
      let child = at.children.get(name);
      if (child === undefined) {
        child = { state: undefined, children: undefined };
        at.children.set(name, child);
      }
      at = child;
    }
    // A directory without an entry of its own changes nothing about one that is there, and takes the place of anything else.
    if (state === undefined) {
      if (at.state !== undefined && at.state.type !== "directory") at.state = undefined;
      return;
    }
    at.state = state;
    if (state.type !== "directory") at.children = undefined;
  }
}

function componentsOf(path: ByteString): readonly ByteString[] {
  return path === "" ? [] : path.split("/");
}
