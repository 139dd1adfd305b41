import { lstatSync, readlinkSync } from "node:fs";
import { walkStore } from "../build/store-walk.js";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import type { Device } from "../core/generated-object.js";
import { EntryList, type EntryType, type Ownership, type Xattrs } from "../tar/entry-list.js";

/** Root, by number alone: file systems know no names. */
export const ROOT: Ownership = { uid: 0, gid: 0, uname: "", gname: "" };

/** What is at one place of the root file system. */
export interface DiskNode {
  readonly type: EntryType;
  mode: number;
  owner: Ownership;
  /** Of a file, in bytes; else 0. */
  readonly size: number;
  /** Of a symlink, else empty. */
  readonly linkTarget: ByteString;
  /** Where a file's contents are read, unless they are `contents`. */
  readonly source?: ByteString | undefined;
  readonly contents?: Uint8Array | undefined;
  readonly device?: Device | undefined;
  readonly xattrs?: Xattrs | undefined;
  /** What errors call where it comes from; undefined for a directory that is only there for what is in it. */
  readonly from?: string | undefined;
}

class Place {
  node: DiskNode;
  children: Map<ByteString, Place> | undefined = undefined;
  /** Where a whole store path is read, that stands here as it is: it is walked when it is listed. */
  storePath: ByteString | undefined = undefined;

  constructor(node: DiskNode) {
    this.node = node;
  }
}

const MAX_LINKS = 40;

/** The root file system of a disk, as it comes together. Each place is taken once. */
export class DiskTree {
  readonly #root = new Place(directory());

  /** The root directory itself. */
  get root(): DiskNode {
    return this.#root.node;
  }

  /** Puts a store path, with all in it and everything root's, at an absolute path. @param source where it is read */
  putStorePath(path: ByteString, source: ByteString): void {
    const { parent, name } = this.#parentOf(path, source);
    checkFree(parent, name, path, source);
    const place = new Place(directory());
    place.storePath = source;
    childrenOf(parent).set(name, place);
  }

  /**
   * Puts one thing at an absolute path; directories above it are made, and symlinks there followed.
   * @throws OciNixError `conflict` where something is there, or in the way; a directory may be one that is only there for what is in it
   */
  put(path: ByteString, node: DiskNode): void {
    const { parent, name } = this.#parentOf(path, node.from ?? "");
    const there = parent.children?.get(name);
    if (there !== undefined && node.type === "directory" && isImplied(there)) {
      there.node = node;
      return;
    }
    checkFree(parent, name, path, node.from ?? "");
    childrenOf(parent).set(name, new Place(node));
  }

  /** Puts one thing at an absolute path, in place of what is there but for directories, which stay as they are. */
  replace(path: ByteString, node: DiskNode): void {
    const { parent, name } = this.#parentOf(path, node.from ?? "");
    if (node.type === "directory" && parent.children?.get(name)?.node.type === "directory") return;
    childrenOf(parent).set(name, new Place(node));
  }

  /** Makes a directory, unless something is there. */
  ensureDirectory(path: ByteString, mode: number): void {
    const { parent, name } = this.#parentOf(path, path);
    if (parent.children?.has(name) !== true) childrenOf(parent).set(name, new Place({ ...directory(), mode }));
  }

  /** Whether something other than a directory for what is in it is at an absolute path. */
  has(path: ByteString): boolean {
    const { parent, name } = this.#parentOf(path, path);
    const there = parent.children?.get(name);
    return there !== undefined && !isImplied(there);
  }

  /** The file at an absolute path, symlinks followed; undefined where there is none. */
  fileAt(path: ByteString): Pick<DiskNode, "source" | "contents" | "size"> | undefined {
    const found = this.#resolve(path);
    if (found === undefined) return undefined;
    if ("source" in found) return storeFile(found.source);
    return found.place.node.type === "file" ? found.place.node : undefined;
  }

  /** All there is, sorted by names, a directory before what is in it; the root first, as an empty path. */
  async entries(signal?: AbortSignal): Promise<EntryList> {
    const entries = new EntryList([ROOT]);
    const turns = new EventLoopTurns(signal);
    const waiting: { readonly place: Place; readonly name: ByteString; readonly depth: number }[] = [
      { place: this.#root, name: "", depth: 0 },
    ];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { place, name, depth } = next;
      if (place.storePath !== undefined) {
        await walkStore(place.storePath, compareStrings, turns, (found) => {
          const { type, mode, size, linkTarget, source } = found;
          const entry = { type, mode, size, linkTarget, owner: ROOT, depth: depth + found.depth };
          entries.append(found.depth > 0 ? { ...entry, name: found.name } : { ...entry, name, source });
        });
        continue;
      }
      const { type, mode, owner, size, linkTarget, source, contents, device, xattrs } = place.node;
      entries.append({ depth, name, type, mode, owner, size, linkTarget, source, contents, device, xattrs });
      const sorted = [...(place.children ?? [])].sort(([a], [b]) => compareStrings(b, a));
      for (const [child, below] of sorted) waiting.push({ place: below, name: child, depth: depth + 1 });
      const due = turns.next();
      if (due !== undefined) await due;
    }
    return entries;
  }

  /** The directory that a path lies in, made where it is missing. */
  #parentOf(path: ByteString, from: string): { readonly parent: Place; readonly name: ByteString } {
    const components = componentsOf(path);
    const name = components.pop();
    if (name === undefined)
      throw new OciNixError("conflict", `${displayBytes(from)} cannot take the place of the root`);
    let at: Place[] = [this.#root];
    let links = 0;
    for (let next = components.shift(); next !== undefined; next = components.shift()) {
      if (next === "..") {
        if (at.length > 1) at.pop();
        continue;
      }
      const here = at.at(-1) as Place;
      let child = here.children?.get(next);
      if (child === undefined) {
        child = new Place(directory());
        childrenOf(here).set(next, child);
      }
      const { node } = child;
      if (node.type === "symlink" && ++links <= MAX_LINKS) {
        components.unshift(...componentsOf(node.linkTarget));
        if (node.linkTarget.startsWith("/")) at = [this.#root];
        continue;
      }
      if (child.storePath !== undefined || node.type !== "directory") {
        const type = node.type === "symlink" ? "a symlink that leads in a circle" : `a ${node.type}`;
        const what = child.storePath === undefined ? type : "a store path, which cannot be changed";
        const message = `${displayBytes(from)} goes to ${displayBytes(path)}, but ${displayBytes(next)} on the way is ${what}`;
        throw new OciNixError("conflict", message, { hint: "give it another target" });
      }
      at.push(child);
    }
    return { parent: at.at(-1) as Place, name };
  }

  /** What a path leads to, in this file system alone; undefined where that is nothing. */
  #resolve(path: ByteString): At | undefined {
    let at: At[] = [{ place: this.#root }];
    const left = componentsOf(path);
    let links = 0;
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      if (next === "..") {
        if (at.length > 1) at.pop();
        continue;
      }
      const child = below(at.at(-1) as At, next);
      if (child === undefined) return undefined;
      const linkTarget = linkTargetOf(child);
      if (linkTarget === undefined) {
        at.push(child);
        continue;
      }
      if (++links > MAX_LINKS) return undefined;
      left.unshift(...componentsOf(linkTarget));
      if (linkTarget.startsWith("/")) at = [{ place: this.#root }];
    }
    return at.at(-1);
  }
}

/** A place, or a file of a store path by where it is read. */
type At = { readonly place: Place } | { readonly source: ByteString };

function below(at: At, name: ByteString): At | undefined {
  if ("source" in at) return { source: `${at.source}/${name}` };
  const child = at.place.children?.get(name);
  if (child === undefined) return undefined;
  return child.storePath === undefined ? { place: child } : { source: child.storePath };
}

function linkTargetOf(at: At): ByteString | undefined {
  if ("place" in at) return at.place.node.type === "symlink" ? at.place.node.linkTarget : undefined;
  try {
    return readlinkSync(fsPath(at.source), { encoding: "latin1" });
  } catch {
    // No symlink, or nothing.
    return undefined;
  }
}

function directory(): DiskNode {
  return { type: "directory", mode: 0o755, owner: ROOT, size: 0, linkTarget: "" };
}

function isImplied({ node, storePath }: Place): boolean {
  return storePath === undefined && node.type === "directory" && node.from === undefined;
}

function childrenOf(place: Place): Map<ByteString, Place> {
  place.children ??= new Map();
  return place.children;
}

function checkFree(parent: Place, name: ByteString, path: ByteString, from: string): void {
  const there = parent.children?.get(name);
  if (there === undefined) return;
  const other = there.storePath ?? there.node.from;
  const what = other === undefined ? "a directory for what else is in it" : `what comes from ${displayBytes(other)}`;
  throw new OciNixError(
    "conflict",
    `${displayBytes(from)} goes to ${displayBytes(path)}, where there is ${what} already`,
    {
      hint: "give one of them another target",
    },
  );
}

function componentsOf(path: ByteString): ByteString[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function storeFile(source: ByteString): Pick<DiskNode, "source" | "size"> | undefined {
  const stat = lstatSync(fsPath(source), { throwIfNoEntry: false });
  return stat?.isFile() === true ? { source, size: stat.size } : undefined;
}
