import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import type { ByteString } from "../core/byte-string.js";
import { encodeUtf8 } from "../core/byte-string.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { exportImage } from "../examine/export.js";
import { TarEntries, type TarEntry } from "../tar/entries.js";
import { onlyImage, openSource, type SourceOptions } from "../transport/open.js";
import { formatTransport, parseTransport } from "../transport/transport.js";
import { type DiskNode, DiskTree } from "./disk-tree.js";
import type { HardLinks } from "./ext4/plan.js";
import { isKnownXattr } from "./ext4/xattrs.js";

/** How an image is reached, and where its files may wait. */
export interface ImageTreeOptions extends Pick<SourceOptions, "platform" | "signal" | "tlsVerify" | "deadlineMs"> {
  /** A directory for the contents of its files, which stay there. */
  readonly directory: string;
}

/** Files in one directory. */
const PER_DIRECTORY = 4096;

/**
 * The root file system of an image, its layers applied one after the other.
 * @throws OciNixError as `openSource` and `exportImage`; `output` where there is no room for its files
 */
export async function readImageTree(
  place: string,
  { directory, ...reading }: ImageTreeOptions,
): Promise<{ readonly tree: DiskTree; readonly links: HardLinks }> {
  const name = parseTransport(place);
  const title = formatTransport(name);
  const source = await openSource(name, reading);
  const taker = new Taker(directory, title);
  try {
    const entries = new TarEntries(taker, title);
    await exportImage(onlyImage(source, title), { write: (bytes) => entries.write(bytes) }, { signal: reading.signal });
    entries.end();
    return taker;
  } finally {
    taker.abandon();
    source.close();
  }
}

/** Takes the entries of an exported image: directories come first, and what hard links lead to before them. */
class Taker {
  readonly tree = new DiskTree();
  readonly links = new Map<ByteString, ByteString>();
  readonly #nodes = new Map<ByteString, DiskNode>();
  readonly #directory: string;
  readonly #title: string;
  #files = 0;
  #fd: number | undefined;

  constructor(directory: string, title: string) {
    this.#directory = directory;
    this.#title = title;
  }

  open(entry: TarEntry): boolean {
    const path = entry.name.replace(/^\.\//, "").replace(/\/$/, "");
    if (path === "") {
      Object.assign(this.tree.root, { mode: entry.mode, owner: ownerOf(entry), ...xattrsOf(entry) });
      return false;
    }
    if (entry.type === "link") {
      const target = entry.linkName.replace(/^\.\//, "");
      this.links.set(path, target);
      this.tree.put(path, this.#nodes.get(target) as DiskNode);
      return false;
    }
    const node = this.#nodeOf(entry, path);
    if (node.type !== "directory") this.#nodes.set(path, node);
    this.tree.put(path, node);
    return false;
  }

  data(piece: Buffer): void {
    if (this.#fd === undefined) return;
    try {
      for (let at = 0; at < piece.length; ) at += writeSync(this.#fd, piece, at);
    } catch (error) {
      throw cannotKeep(error, this.#title);
    }
  }

  close(): void {
    this.abandon();
  }

  /** Closes what is open. */
  abandon(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #nodeOf(entry: TarEntry, path: ByteString): DiskNode {
    const { type, mode, size, linkName, devMajor, devMinor } = entry;
    if (type === "link" || type === "other") throw new Error("an exported image has no such entry here");
    return {
      type,
      mode: type === "symlink" ? 0o777 : mode,
      owner: ownerOf(entry),
      size,
      linkTarget: type === "symlink" ? linkName : "",
      ...(type === "file" ? (size === 0 ? { contents: EMPTY } : { source: this.#newFile() }) : {}),
      ...(type === "character" || type === "block" ? { device: { major: devMajor, minor: devMinor } } : {}),
      ...xattrsOf(entry),
      from: `${encodeUtf8(this.#title)}: ${path}`,
    };
  }

  #newFile(): ByteString {
    const directory = `${this.#directory}/${Math.floor(this.#files / PER_DIRECTORY)}`;
    try {
      if (this.#files % PER_DIRECTORY === 0) mkdirSync(directory);
      const file = `${directory}/${this.#files++ % PER_DIRECTORY}`;
      this.#fd = openSync(file, "wx", 0o600);
      return encodeUtf8(file);
    } catch (error) {
      throw cannotKeep(error, this.#title);
    }
  }
}

const EMPTY = Buffer.alloc(0);

function ownerOf({ uid, gid }: TarEntry): DiskNode["owner"] {
  return { uid, gid, uname: "", gname: "" };
}

/** Those that Linux can have of any file: of others, which other systems have, engines leave files without, too. */
function xattrsOf({ xattrs }: TarEntry): Pick<DiskNode, "xattrs"> {
  const known = [...(xattrs ?? [])].filter(([name]) => isKnownXattr(name));
  return known.length === 0 ? {} : { xattrs: new Map(known) };
}

function cannotKeep(error: unknown, title: string): OciNixError {
  return new OciNixError("output", `cannot unpack ${title}: ${describeErrno(error)}`, {
    hint: "its files wait in TMPDIR, which needs room for all of them",
    cause: error,
  });
}
