import { type ByteString, isUtf8 } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { TarEntry, TarVisitor } from "../tar/entries.js";
import { entryPath, isTooLong, parentOf, shownName, whiteoutOf } from "./entry-path.js";
import { deviceProblem, linkProblem, ownerProblem, rootProblem } from "./entry-problems.js";
import type { Findings } from "./findings.js";
import { KnownPaths } from "./known-paths.js";

const ENGINES = ["docker", "podman/skopeo", "containerd"];
const ON_OVERLAYFS = ["docker", "podman/skopeo"];

/** Those that change a file system itself, where engines with overlayfs put the layers side by side. */
const VFS = ["podman with the driver vfs"];
const IN_PLACE = [...VFS, "umoci"];

/** Entries that an image may have, and paths, with the directories that have no entries: as many take more than a gigabyte of memory. */
const MAX_CHECKED = 8_000_000;

/**
 * Checks the entries of one layer after the other, bottom first. All paths are remembered: a duplicate may come at any time, and an entry
 * may lie in what a lower layer has.
 */
export class LayerCheck {
  readonly #findings: Findings;
  readonly #known = new KnownPaths();
  readonly #limit: number;
  entries = 0;

  /** @param limit of the entries of all layers, and of their paths */
  constructor(findings: Findings, limit = MAX_CHECKED) {
    this.#findings = findings;
    this.#limit = limit;
  }

  /**
   * What takes the entries of the next layer, and throws `limit` where there are too many; call `finish` once it has had them all.
   * @param maxUnpacked bytes that the files of the layer may have, with their holes
   */
  begin(where: string, isFirst: boolean, maxUnpacked: number): TarVisitor & { finish(): void } {
    this.#known.beginLayer();
    const layer = new OneLayer(this.#findings, this.#known, where, isFirst, maxUnpacked);
    return {
      open: (entry) => {
        this.entries++;
        if (Math.max(this.entries, this.#known.size) > this.#limit) {
          const message = `${where}: the image has more than ${this.#limit} entries and directories, and is not checked further`;
          throw new OciNixError("limit", message);
        }
        layer.check(entry);
        return false;
      },
      close: () => undefined,
      finish: () => layer.finish(),
    };
  }
}

class OneLayer {
  /** A directory that entries may lie in. */
  #soundParent: ByteString | undefined;
  #absolute = 0;
  /** Bytes of the files so far, with their holes. */
  #unpacked = 0;
  readonly #findings: Findings;
  readonly #known: KnownPaths;
  readonly #where: string;
  readonly #isFirst: boolean;
  readonly #maxUnpacked: number;

  constructor(findings: Findings, known: KnownPaths, where: string, isFirst: boolean, maxUnpacked: number) {
    this.#findings = findings;
    this.#known = known;
    this.#where = where;
    this.#isFirst = isFirst;
    this.#maxUnpacked = maxUnpacked;
  }

  check(entry: TarEntry): void {
    const path = this.#checkName(entry.name);
    if (path === undefined) return;
    this.#checkParents(path, entry.name);
    if (entry.type === "link") this.#checkLink(entry);
    this.#checkKind(entry, path);
    const before = this.#known.kindHere(path);
    if (before !== undefined && before !== "implied") {
      const message = `${shownName(entry.name)} is there more than once`;
      this.#add("error", "duplicate", message, ["docker", "podman/skopeo"]);
    } else {
      this.#checkWhiteout(entry, path);
    }
    const kind = entry.type === "directory" || entry.type === "symlink" ? entry.type : "linkable";
    this.#known.set(path, kind);
    if (kind !== "directory" && this.#soundParent?.startsWith(path)) this.#soundParent = undefined;
  }

  /** Notes what has to be counted first. */
  finish(): void {
    if (this.#absolute === 0) return;
    const message = `${this.#absolute} names are absolute`;
    this.#add("note", "absolute-name", message, ["scanners (Trivy, Dockle)"]);
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
    const obstacle = this.#known.obstacle(path);
    if (obstacle === undefined) {
      this.#known.implyParents(path);
      this.#soundParent = parent;
      return;
    }
    const { kind, isHere } = obstacle;
    const message = `${shownName(name)} lies in ${shownName(obstacle.path)}`;
    const whiteout = whiteoutOf(path);
    if (kind === "symlink") {
      const layer = isHere ? "this layer" : "a lower layer";
      this.#add("error", "under-symlink", `${message}, a symlink in ${layer}`, ENGINES);
    } else if (kind === "hidden") {
      const why = "which this layer hides and has no entry for before it";
      this.#add("error", "whiteout", `${message}, ${why}`, ON_OVERLAYFS);
    } else if (!isHere) {
      if (whiteout?.hides === "contents") return;
      const clients = whiteout === undefined ? IN_PLACE : VFS;
      this.#add("warning", "under-file", `${message}, which is no directory in a lower layer`, clients);
    } else if (whiteout?.hides === "path") {
      // umoci writes whiteouts for what was in a directory that a file replaced.
      this.#add("warning", "under-file", `${message}, which is no directory`, VFS);
    } else {
      this.#add("error", "under-file", `${message}, which is no directory`, ENGINES);
    }
  }

  #checkLink({ name, linkName }: TarEntry): void {
    const target = entryPath(linkName);
    const kind = target === undefined ? undefined : this.#known.kindHere(target);
    if (kind === undefined || kind === "implied") {
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

  #checkKind(entry: TarEntry, path: ByteString): void {
    const { name, type, devMajor, devMinor } = entry;
    if (type === "character" || type === "block") {
      const message = `${shownName(name)} is a ${type} device ${devMajor}:${devMinor}`;
      this.#add("note", "device", message, ["docker, podman and containerd without the rights of root"]);
    } else if (type === "other") {
      this.#add("warning", "entry-type", `${shownName(name)} is of a type that is none of POSIX's`, ENGINES);
    }
    const link = type === "symlink" ? linkProblem(entry) : undefined;
    if (link !== undefined) this.#add("error", "bad-link", link, ENGINES);
    const root = rootProblem(entry, path);
    if (root !== undefined) this.#add("warning", "root", root, IN_PLACE);
    const owner = ownerProblem(entry);
    if (owner !== undefined) this.#add("warning", "owner", owner);
    const device = deviceProblem(entry);
    if (device !== undefined) this.#add("warning", "device", device);
    this.#checkHoles(entry);
  }

  /** Holes are read as zeros, and not every file system can keep them: they count as what a layer unpacks to. */
  #checkHoles({ name, sparse, fullSize }: TarEntry): void {
    this.#unpacked += fullSize;
    if (!sparse) return;
    const shown = shownName(name);
    const message = `${shown} is stored without its holes, as GNU tar does: it has ${fullSize} bytes with them`;
    this.#add("note", "sparse", message);
    if (this.#unpacked <= this.#maxUnpacked) return;
    const size = `${this.#unpacked} bytes with the holes of ${shown}, more than the ${this.#maxUnpacked} that are taken`;
    throw new OciNixError("limit", `${this.#where} unpacks to ${size}, and is not read further`);
  }

  #checkWhiteout({ name, type, size }: TarEntry, path: ByteString): void {
    if (this.#known.isHidden(path)) this.#bothWays(path);
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
    const kind = whiteout.hides === "path" ? this.#known.kindHere(whiteout.path) : undefined;
    if (kind !== undefined) {
      const message = `${shownName(whiteout.path)} is in this layer, as is a whiteout after it`;
      this.#add("error", "whiteout", message, ON_OVERLAYFS);
    }
    this.#known.hide(whiteout.path, whiteout.hides);
  }

  #bothWays(path: ByteString): void {
    const message = `${shownName(path)} is in this layer, as is a whiteout that hides it in lower ones`;
    this.#add("warning", "whiteout", message);
  }
}
