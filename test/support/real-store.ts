import { join } from "node:path";
import { PROJECT } from "./cli.js";
import { runOk } from "./command.js";

/** What the store is built with. For `describe.skipIf(requireTools(...REAL_STORE_TOOLS))`. */
export const REAL_STORE_TOOLS = ["nix-build", "nix-store", "apt-get", "apt-cache", "dpkg-deb", "flock"] as const;

/** A store that real Nix built, with a real Nix database: see scripts/make-real-store.mjs. */
export interface RealStore {
  readonly kind: "small" | "nix" | "system" | "big";
  /** For `--store-root`: the store lies in `<storeRoot>/nix/store`, the database in `<storeRoot>/nix/var/nix/db`. */
  readonly storeRoot: string;
  /** Logical store paths whose closure is everything below. */
  readonly roots: readonly string[];
  /** Debian package → logical store path, the dependencies included. */
  readonly packages: Readonly<Record<string, string>>;
  /** Of the kind `system`, a system that is used as one of NixOS is: its installer runs `/etc/boot-installer`. */
  readonly toplevel?: string;
  /** Logical path of a statically linked busybox: `<busybox> echo hello` runs in an empty image. */
  readonly busybox: string;
  /** The command that runs the dynamically linked bash with nothing but the store: add `-c "echo hello"`. */
  readonly dynamicBash: readonly string[];
  readonly storePaths: number;
  readonly narSize: number;
  /** Files, directories and symbolic links. */
  readonly entries: number;
}

/**
 * A real store: `small` (some 120 store paths, 280 MB) for tests, `nix` for those that run Nix in images, `system` for those that install boot loaders, `big` (some 800
 * paths, 4 GB) for benchmarks.
 *
 * The first call downloads and builds it, which takes seconds for the small and minutes for the big one; later calls, in any
 * process, find it in the cache. Callers must not change it. Test files may call it at the same time.
 */
export async function realStore(kind: RealStore["kind"]): Promise<RealStore> {
  const script = join(PROJECT, "scripts", "make-real-store.mjs");
  return JSON.parse(await runOk(process.execPath, [script, kind], { timeoutMs: 30 * 60_000 })) as RealStore;
}
