import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { GeneratedObject } from "../../core/generated-object.js";
import type { Ownership } from "../../core/ownership.js";
import { type Contents, sameContents } from "../../core/same-contents.js";
import type { StoreFiles } from "./store-files.js";

/** Something for the tree, and what errors call its origin. A directory that is not `firm` takes on what others say of it. */
export type Piece = GeneratedObject & {
  readonly source: string;
  /** Of a symlink: where in the store what it leads to can be found; by default its target. */
  readonly original?: ByteString;
};

/**
 * What is put into an image, by path, with all directories above. Of two pieces that want one place: directories coincide, and so do symlinks
 * with one target or to one file of the store or to files that are equal, and files that are equal; anything else is a conflict. What comes
 * out does not depend on the order in which pieces came, but for modes of directories that claim nothing.
 */
export class JoinedTree {
  readonly #pieces = new Map<ByteString, Piece>();
  readonly #files: StoreFiles;
  readonly #parentOwner: Ownership;

  /** @param parentOwner owner of directories that are only there for what is in them */
  constructor(files: StoreFiles, parentOwner: Ownership) {
    this.#files = files;
    this.#parentOwner = parentOwner;
  }

  has(path: ByteString): boolean {
    return this.#pieces.has(path);
  }

  /** What stands at a path, if anything does. */
  at(path: ByteString): Piece | undefined {
    return this.#pieces.get(path);
  }

  /**
   * @throws OciNixError `conflict` naming both sources; `unreadable` where files cannot be compared; `unsupported` for a name that a layer cannot
   *   hold
   */
  add(piece: Piece): void {
    const { path, source } = piece;
    if (path.includes("/.wh.")) {
      throw new OciNixError(
        "unsupported",
        `${displayBytes(path)} of ${source}: in a layer, .wh. before a name deletes it`,
        {
          hint: "rename it, or leave it out",
        },
      );
    }
    for (let slash = path.indexOf("/", 1); slash !== -1; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      const there = this.#pieces.get(parent);
      if (there === undefined) this.#pieces.set(parent, this.#directory(parent, source));
      else if (there.type !== "directory") throw differing(parent, there, this.#directory(parent, source));
    }
    const there = this.#pieces.get(path);
    this.#pieces.set(path, there === undefined ? piece : this.#merge(there, piece));
  }

  /** Everything, each directory before what is in it. */
  objects(): readonly GeneratedObject[] {
    return [...this.#pieces.values()].sort((a, b) => compareStrings(a.path, b.path));
  }

  #directory(path: ByteString, source: string): Piece {
    return { type: "directory", path, mode: 0o755, owner: this.#parentOwner, claim: "none", source };
  }

  #merge(first: Piece, second: Piece): Piece {
    if (first.type === "directory" && second.type === "directory") {
      if (second.claim === "none") return first;
      if (first.claim === "none" || sameAttributes(first, second)) return second;
    } else if (first.type === "symlink" && second.type === "symlink" && sameOwner(first.owner, second.owner)) {
      if (first.linkTarget === second.linkTarget) return first;
      if (this.#leadToTheSame(first.original ?? first.linkTarget, second.original ?? second.linkTarget)) {
        return compareStrings(first.linkTarget, second.linkTarget) <= 0 ? first : second;
      }
    } else if (first.type === "file" && second.type === "file" && sameAttributes(first, second)) {
      if (sameContents(contentsOf(first), contentsOf(second))) return first;
    }
    throw differing(first.path, first, second);
  }

  /** Directories are not looked at: what a symlink to one has in it may be more than what is in the store there. */
  #leadToTheSame(one: ByteString, other: ByteString): boolean {
    // What else a relative one leads to depends on what is in the image.
    if (!one.startsWith("/") || !other.startsWith("/")) return false;
    const [a, b] = [this.#files.resolve(one), this.#files.resolve(other)];
    if (a.type === "directory" || b.type === "directory") return false;
    if (a.path === b.path) return true;
    const areFiles = a.type === "file" && b.type === "file" && a.executable === b.executable;
    const contentsOf = ({ path, size }: typeof a) => ({ source: this.#files.sourceOf(path), size });
    return areFiles && sameContents(contentsOf(a), contentsOf(b));
  }
}

function contentsOf(piece: Extract<Piece, { readonly type: "file" }>): Contents {
  if ("copyOf" in piece) return { source: piece.copyOf, size: piece.size };
  return { source: piece.path, size: piece.contents.length, contents: piece.contents };
}

function sameOwner(a: Ownership, b: Ownership): boolean {
  return a.uid === b.uid && a.gid === b.gid && a.uname === b.uname && a.gname === b.gname;
}

function sameAttributes(a: Piece, b: Piece): boolean {
  return a.mode === b.mode && sameOwner(a.owner, b.owner);
}

function differing(path: ByteString, first: Piece, second: Piece): OciNixError {
  // Whichever came first, the error is the same.
  const [a, b] = compareStrings(first.source, second.source) <= 0 ? [first, second] : [second, first];
  const others = a.type === "file" && b.type === "file" && sameAttributes(a, b) ? ", with other contents" : "";
  const isStorePath = [a, b].some(({ source }) => source.startsWith("/"));
  return new OciNixError(
    "conflict",
    `${displayBytes(path)} comes from both ${a.source} (${what(a)}) and ${b.source} (${what(b)})${others}`,
    {
      hint: isStorePath
        ? "drop one of the two, or give instead of a store path those directories in it that are wanted"
        : "drop one of the two, or give it another place",
    },
  );
}

function what(piece: Piece): string {
  const { uid, gid } = piece.owner;
  const mode = piece.mode.toString(8).padStart(4, "0");
  if (piece.type === "symlink") return `a link to ${displayBytes(piece.linkTarget)}`;
  return `a ${piece.type} of mode ${mode} and owner ${uid}:${gid}`;
}
