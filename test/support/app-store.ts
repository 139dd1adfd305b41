import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, lutimesSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { narHash } from "../../src/nix/nar.js";
import { tool } from "./tools.js";

/** A store of one application over libraries that all have a layer of their own, the application's being the top one. */
export interface AppStore {
  /** For `--store-root`. */
  readonly storeRoot: string;
  /** Prints the application's version, without an operating system. */
  readonly command: readonly string[];
  /** The closure of a version as JSON, for `--closure`; makes the application where it is not there yet. */
  closureOf(version: string): Promise<string>;
}

const STORE = "/nix/store";

/** Libraries of random bytes, so that no layer is in any daemon already. Needs busybox. */
export async function makeAppStore(
  directory: string,
  { libraries, librarySize }: { readonly libraries: number; readonly librarySize: number },
): Promise<AppStore> {
  const root = join(directory, "root");
  mkdirSync(join(root, STORE), { recursive: true });
  const objects: { path: string; narHash: string; narSize: number; references: string[] }[] = [];
  const add = async (name: string, references: string[], fill: (path: string) => void) => {
    const hash = Buffer.from(name).toString("hex").replace(/[eu]/g, "z").padStart(32, "0").slice(-32);
    const path = `${STORE}/${hash}-${name}`;
    mkdirSync(join(root, path));
    fill(join(root, path));
    chmodSync(join(root, path), 0o555);
    lutimesSync(join(root, path), 1, 1);
    return { path, narHash: await narHash(join(root, path)), narSize: librarySize, references };
  };
  const put = (file: string, write: () => void, mode = 0o444) => {
    write();
    chmodSync(file, mode);
    lutimesSync(file, 1, 1);
  };
  for (let i = 0; i < libraries; i++) {
    const below = objects.slice(-1).map(({ path }) => path);
    objects.push(
      await add(`library-${i}`, below, (path) => {
        const file = join(path, "library.so");
        put(file, () => writeFileSync(file, randomBytes(librarySize)));
      }),
    );
  }
  const busybox = await add("busybox", [], (path) => {
    put(join(path, "busybox"), () => copyFileSync(tool("busybox"), join(path, "busybox")), 0o555);
  });
  objects.unshift(busybox);
  const app = (version: string) => `/nix/store/${"0".repeat(31)}${version}-app`;
  return {
    storeRoot: root,
    command: [`${busybox.path}/busybox`, "sh", "-c", `${busybox.path}/busybox cat ${STORE}/*-app/version`],
    async closureOf(version) {
      const file = join(directory, `closure-${version}.json`);
      const path = app(version);
      if (existsSync(file)) return file;
      mkdirSync(join(root, path));
      put(join(root, path, "version"), () => writeFileSync(join(root, path, "version"), version));
      chmodSync(join(root, path), 0o555);
      lutimesSync(join(root, path), 1, 1);
      const references = objects.map((object) => object.path);
      const own = { path, narHash: await narHash(join(root, path)), narSize: 1000, references };
      writeFileSync(file, JSON.stringify([...objects, own]));
      return file;
    },
  };
}
