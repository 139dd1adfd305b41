import { lstatSync, readlinkSync } from "node:fs";
import { type ByteString, displayBytes, encodeUtf8, fsPath } from "../../core/byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import { rootPrefix } from "../file-tree.js";

/** Where a path of the image leads to. */
export interface Resolved {
  /** Without symlinks, as far as that can be told. */
  readonly path: ByteString;
  /** `outside`: not in the store, so that nobody knows. `missing`: nothing is there. */
  readonly type: "file" | "directory" | "outside" | "missing";
  /** Of a file, in bytes; else 0. */
  readonly size: number;
  readonly executable: boolean;
}

const MAX_LINKS = 40;

/** The files of a store that may lie below another root: symlinks in it lead to where they would in the image. */
export class StoreFiles {
  readonly #prefix: ByteString;
  readonly #storeDir: ByteString;

  /** @param storeRoot `/nix/store/x` is read from `<storeRoot>/nix/store/x` */
  constructor(storeRoot: string, storeDir: string) {
    this.#prefix = rootPrefix(storeRoot);
    this.#storeDir = encodeUtf8(storeDir);
  }

  /** Where a logical path is read. */
  sourceOf(path: ByteString): ByteString {
    return this.#prefix + path;
  }

  /** Follows all symlinks. @throws OciNixError `unreadable` */
  resolve(path: ByteString): Resolved {
    const left = componentsOf(path).reverse();
    let at = "";
    let links = 0;
    const nowhere = (type: "outside" | "missing"): Resolved => {
      return { path: [at, ...left.reverse()].join("/"), type, size: 0, executable: false };
    };
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      if (name === "..") {
        at = at.slice(0, Math.max(at.lastIndexOf("/"), 0));
        continue;
      }
      const next = `${at}/${name}`;
      if (this.#storeDir === next || this.#storeDir.startsWith(`${next}/`)) {
        at = next;
        continue;
      }
      left.push(name);
      if (!next.startsWith(`${this.#storeDir}/`)) return nowhere("outside");
      const found = this.#look(next);
      if (found === undefined) return nowhere("missing");
      if (typeof found === "string") {
        if (++links > MAX_LINKS) return nowhere("missing");
        left.pop();
        if (found.startsWith("/")) at = "";
        left.push(...componentsOf(found).reverse());
        continue;
      }
      left.pop();
      if (found.type === "file") return left.length > 0 ? nowhere("missing") : found;
      at = next;
    }
    return { path: at, type: "directory", size: 0, executable: false };
  }

  /** What is there: a symlink's target, or what is no symlink; undefined where nothing is. */
  #look(path: ByteString): ByteString | Resolved | undefined {
    const source = fsPath(this.sourceOf(path));
    try {
      const stat = lstatSync(source);
      if (stat.isSymbolicLink()) return readlinkSync(source, { encoding: "latin1" });
      if (stat.isDirectory()) return { path, type: "directory", size: 0, executable: false };
      return { path, type: "file", size: stat.size, executable: (stat.mode & 0o100) !== 0 };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw new OciNixError("unreadable", `cannot read ${displayBytes(this.sourceOf(path))}: ${describeErrno(error)}`, {
        cause: error,
      });
    }
  }
}

function componentsOf(path: ByteString): ByteString[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
