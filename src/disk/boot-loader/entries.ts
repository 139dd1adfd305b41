import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { type ByteString, displayBytes, encodeUtf8 } from "../../core/byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import { withoutTrailing } from "../../core/trim.js";
import type { BootEntry, BootFile } from "./boot-entry.js";

/**
 * The entry of a NixOS system, as NixOS's own installers make it for the first generation.
 * @param toplevel its store path
 * @param options.storeRoot where the store's files are: `/nix/store/x` is at `<storeRoot>/nix/store/x`; by default `/`
 * @throws OciNixError `not-found` for a system without kernel, `invalid-input` for a link that leads nowhere; `unreadable`
 */
export function bootEntryOf(
  toplevel: ByteString,
  options: { readonly storeRoot?: string | undefined } = {},
): BootEntry {
  const store = new Store(withoutTrailing(options.storeRoot ?? "/", "/"));
  const kernel = store.file(`${toplevel}/kernel`);
  if (kernel === undefined) {
    throw new OciNixError("not-found", `${toplevel} has no kernel`, {
      hint: "name the toplevel of a NixOS system that is not for containers (boot.isContainer), or a kernel",
    });
  }
  const label = store.text(`${toplevel}/nixos-version`);
  const parameters = store.text(`${toplevel}/kernel-params`) ?? "";
  return {
    id: "nixos-generation-1",
    title: "NixOS",
    version: `Generation 1${label === undefined ? "" : ` NixOS ${label}`}`,
    sortKey: "nixos",
    kernel: nixosFile(kernel, store),
    initrd: optionally(store.file(`${toplevel}/initrd`), (file) => nixosFile(file, store)),
    commandLine: `init=${toplevel}/init ${parameters}`.trim(),
    osRelease: optionally(store.file(`${toplevel}/etc/os-release`), (file) => store.text(file)),
  };
}

/**
 * The entry of a kernel, and an initrd, that are files of this machine and not of the image.
 * @param options.commandLine the kernel's parameters, in UTF-8
 */
export function bootEntryOfFiles(options: {
  readonly kernel: string;
  readonly initrd?: string | undefined;
  readonly commandLine: string;
}): BootEntry {
  // Names of this machine say nothing to the image's, and would be part of its bytes.
  const file = (source: string, name: string): BootFile => ({ source, bootPath: `/${name}` });
  return {
    id: "linux",
    title: "Linux",
    kernel: file(options.kernel, "vmlinuz"),
    initrd: optionally(options.initrd, (source) => file(source, "initrd.img")),
    commandLine: encodeUtf8(options.commandLine),
  };
}

/** On the file system of `/boot` the names of these files are those of their store paths, as NixOS's installers look for them. */
function nixosFile(path: ByteString, store: Store): BootFile {
  const [, base, name] = /([^/]+)\/([^/]+)$/.exec(path) ?? [];
  return { path, source: store.fileName(path), bootPath: `/EFI/nixos/${base}-${name}.efi` };
}

function optionally<T, U>(value: T | undefined, map: (value: T) => U): U | undefined {
  return value === undefined ? undefined : map(value);
}

/** As the kernel counts. */
const MOST_LINKS = 40;

/** A store whose files may be below another root: links in it lead from that root on. */
class Store {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  fileName(path: ByteString): string {
    return this.#root + Buffer.from(path, "latin1").toString("utf8");
  }

  /** The path, without links, of what a path leads to; undefined where it is not there. @throws OciNixError `invalid-input`, `unreadable` */
  file(path: ByteString): ByteString | undefined {
    const done: ByteString[] = [];
    const rest = path.split("/").reverse();
    let links = 0;
    while (rest.length > 0) {
      const name = rest.pop() as ByteString;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        done.pop();
        continue;
      }
      const target = this.#link(`/${[...done, name].join("/")}`, links > 0 ? path : undefined);
      if (target === null) return undefined;
      if (target === undefined) {
        done.push(name);
        continue;
      }
      links++;
      if (links > MOST_LINKS) throw new OciNixError("invalid-input", `${displayBytes(path)} is a circle of links`);
      if (target.startsWith("/")) done.length = 0;
      rest.push(...target.split("/").reverse());
    }
    return `/${done.join("/")}`;
  }

  /** What a small file says; undefined where it is not there. @throws OciNixError as {@link file} */
  text(path: ByteString): ByteString | undefined {
    const file = this.file(path);
    if (file === undefined) return undefined;
    try {
      return readFileSync(this.fileName(file), "latin1").trim();
    } catch (error) {
      throw new OciNixError("unreadable", `cannot read ${this.fileName(file)}: ${describeErrno(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * A link's target; undefined where it is no link, null where there is nothing.
   * @param from whose link led here; then there has to be something
   */
  #link(path: ByteString, from: ByteString | undefined): ByteString | undefined | null {
    const file = this.fileName(path);
    try {
      return lstatSync(file).isSymbolicLink() ? readlinkSync(file, "latin1") : undefined;
    } catch (error) {
      if (errnoOf(error) === "ENOENT" && from === undefined) return null;
      const what = from === undefined ? "cannot read" : `${displayBytes(from)} leads to`;
      throw new OciNixError(
        from === undefined ? "unreadable" : "invalid-input",
        `${what} ${displayBytes(path)}: ${describeErrno(error)}`,
        {
          cause: error,
        },
      );
    }
  }
}
