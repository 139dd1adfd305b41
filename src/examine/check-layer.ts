import { type ByteString, isUtf8 } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { TarEntry, TarVisitor } from "../tar/entries.js";
import { entryPath, isTooLong, parentOf, parentsOf, shownName, whiteoutOf } from "./entry-path.js";
import type { Findings } from "./findings.js";

const ENGINES = ["docker", "podman/skopeo", "containerd"];

/** Entries that a layer may have: as many names take more than a gigabyte of memory. */
const MAX_CHECKED = 8_000_000;

type Kind = "directory" | "symlink" | "linkable";

/**
 * Checks the entries of one layer after the other, bottom first. Between layers only the symlinks are remembered; within a layer the
 * names, as a duplicate may come at any time.
 */
export class LayerCheck {
  readonly #findings: Findings;
  /** Symlinks of the layers below, unless something hides them. */
  #lowerSymlinks = new Set<ByteString>();
  readonly #limit: number;
  entries = 0;

  /** @param limit of the entries of a layer */
  constructor(findings: Findings, limit = MAX_CHECKED) {
    this.#findings = findings;
    this.#limit = limit;
  }

  /** What takes the entries of the next layer, and throws `limit` where there are too many; call `finish` once it has had them all. */
  begin(where: string, isFirst: boolean): TarVisitor & { finish(): void } {
    const layer = new OneLayer(this.#findings, this.#lowerSymlinks, where, isFirst);
    const before = this.entries;
    return {
      open: (entry) => {
        if (++this.entries - before > this.#limit) {
          throw new OciNixError("limit", `${where} has more than ${this.#limit} entries, and is not checked further`);
        }
        layer.check(entry);
        return false;
      },
      close: () => undefined,
      finish: () => {
        this.#lowerSymlinks = layer.finish();
      },
    };
  }
}

class OneLayer {
  readonly #kinds = new Map<ByteString, Kind>();
  /** Paths and directories whose contents whiteouts hide. */
  readonly #hiddenPaths = new Set<ByteString>();
  readonly #hiddenContents = new Set<ByteString>();
  /** A directory that entries may lie in. */
  #soundParent: ByteString | undefined;
  #absolute = 0;
  readonly #findings: Findings;
  readonly #lowerSymlinks: ReadonlySet<ByteString>;
  readonly #where: string;
  readonly #isFirst: boolean;

  constructor(findings: Findings, lowerSymlinks: ReadonlySet<ByteString>, where: string, isFirst: boolean) {
    this.#findings = findings;
    this.#lowerSymlinks = lowerSymlinks;
    this.#where = where;
    this.#isFirst = isFirst;
  }

  check(entry: TarEntry): void {
    const path = this.#checkName(entry.name);
    if (path === undefined) return;
    this.#checkParents(path, entry.name);
    if (entry.type === "link") this.#checkLink(entry);
    this.#checkKind(entry);
    if (this.#kinds.has(path)) {
      const message = `${shownName(entry.name)} is there more than once`;
      this.#add("error", "duplicate", message, ["docker", "podman/skopeo"]);
    } else {
      this.#checkWhiteout(entry, path);
    }
    const kind = entry.type === "directory" || entry.type === "symlink" ? entry.type : "linkable";
    this.#kinds.set(path, kind);
    if (kind !== "directory" && this.#soundParent?.startsWith(path)) this.#soundParent = undefined;
  }

  /** Notes what has to be counted first. @returns the symlinks for the layers above */
  finish(): Set<ByteString> {
    if (this.#absolute > 0) {
      const message = `${this.#absolute} names are absolute`;
      this.#add("note", "absolute-name", message, ["scanners (Trivy, Dockle)"]);
    }
    const symlinks = new Set<ByteString>();
    for (const path of this.#lowerSymlinks) if (!this.#isReplaced(path)) symlinks.add(path);
    for (const [path, kind] of this.#kinds) if (kind === "symlink") symlinks.add(path);
    return symlinks;
  }

  #add(severity: "error" | "warning" | "note", code: string, message: string, clients?: readonly string[]): void {
    this.#findings.add(severity, code, this.#where, message, clients);
  }

  /** The entry's path, where it has one that can be looked at further. */
  #checkName(name: ByteString): ByteString | undefined {
    if (name.startsWith("/")) this.#absolute++;
    const path = entryPath(name);
    if (path === undefined) {
      this.#add("error", "parent-reference", `${shownName(name)} has a component ".."`, ENGINES);
      return undefined;
    }
    if (name === "" || name.includes("\0")) {
      this.#add(
        "error",
        "bad-name",
        `${shownName(name) || "an entry without a name"}: no file can be called that`,
        ENGINES,
      );
      return undefined;
    }
    if (isTooLong(path)) {
      this.#add("error", "bad-name", `${shownName(name)} is longer than Linux allows`, ENGINES);
      return undefined;
    }
    if (!isUtf8(name)) this.#add("note", "name-bytes", `${shownName(name)} is not UTF-8`, ["scanners"]);
    return path;
  }

  #checkParents(path: ByteString, name: ByteString): void {
    const parent = parentOf(path);
    if (parent === "" || parent === this.#soundParent) return;
    for (const at of parentsOf(path)) {
      const kind = this.#kinds.get(at);
      if (kind === "symlink" || (kind === undefined && this.#lowerSymlinks.has(at) && !this.#isReplaced(at))) {
        const layer = kind === undefined ? "a lower layer" : "this layer";
        this.#add(
          "error",
          "under-symlink",
          `${shownName(name)} lies in ${shownName(at)}, a symlink in ${layer}`,
          ENGINES,
        );
        return;
      }
      if (kind === "linkable") {
        const message = `${shownName(name)} lies in ${shownName(at)}, which is no directory`;
        // umoci writes whiteouts for what was in a directory that a file replaced.
        if (whiteoutOf(path)?.hides === "path")
          this.#add("warning", "under-file", message, ["podman with the driver vfs"]);
        else this.#add("error", "under-file", message, ENGINES);
        return;
      }
    }
    this.#soundParent = parent;
  }

  #checkLink({ name, linkName }: TarEntry): void {
    const target = entryPath(linkName);
    const kind = target === undefined ? undefined : this.#kinds.get(target);
    if (kind === undefined) {
      const message = `${shownName(name)} is a hard link to ${shownName(linkName)}, which does not come before it in this layer`;
      this.#add("error", "hard-link", message, ENGINES);
    } else if (kind === "directory") {
      this.#add(
        "error",
        "hard-link",
        `${shownName(name)} is a hard link to ${shownName(linkName)}, a directory`,
        ENGINES,
      );
    }
  }

  #checkKind({ name, type, devMajor, devMinor, sparse }: TarEntry): void {
    if (type === "character" || type === "block") {
      const message = `${shownName(name)} is a ${type} device ${devMajor}:${devMinor}`;
      this.#add("note", "device", message, ["docker, podman and containerd without the rights of root"]);
    } else if (type === "other") {
      this.#add("warning", "entry-type", `${shownName(name)} is of a type that is none of POSIX's`, ENGINES);
    }
    if (sparse) this.#add("note", "sparse", `${shownName(name)} is stored without its holes, as GNU tar does`);
  }

  #checkWhiteout({ name, type, size }: TarEntry, path: ByteString): void {
    if (this.#hiddenPaths.has(path)) this.#bothWays(path);
    const whiteout = whiteoutOf(path);
    if (whiteout === undefined) return;
    if (whiteout.hides === "nothing") {
      this.#add("error", "whiteout", `${shownName(name)} is no well-formed whiteout: ${whiteout.reason}`, ENGINES);
      return;
    }
    if (type !== "file" || size > 0) {
      this.#add("warning", "whiteout", `${shownName(name)} is a whiteout, but not an empty file`);
    }
    if (this.#isFirst) this.#add("note", "whiteout", `${shownName(name)} hides nothing, as there is no lower layer`);
    if (whiteout.hides === "path" && this.#kinds.has(whiteout.path)) this.#bothWays(whiteout.path);
    (whiteout.hides === "path" ? this.#hiddenPaths : this.#hiddenContents).add(whiteout.path);
  }

  #bothWays(path: ByteString): void {
    this.#add(
      "warning",
      "whiteout",
      `${shownName(path)} is in this layer, as is a whiteout that hides it in lower ones`,
    );
  }

  /** Whether what lower layers have at a path is hidden or replaced so far. */
  #isReplaced(path: ByteString): boolean {
    if (this.#kinds.has(path) || this.#hiddenPaths.has(path) || this.#hiddenContents.has("")) return true;
    for (const at of parentsOf(path)) {
      const kind = this.#kinds.get(at);
      if (kind !== undefined && kind !== "directory") return true;
      if (this.#hiddenPaths.has(at) || this.#hiddenContents.has(at)) return true;
    }
    return false;
  }
}
