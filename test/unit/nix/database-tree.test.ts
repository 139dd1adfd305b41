import { describe, expect, it } from "vitest";
import { nixDatabaseTree } from "../../../src/nix/database-tree.js";
import { formatNixDatabase } from "../../../src/nix/database-writer.js";
import { object, path } from "./fixtures.js";

const known = { narHash: `sha256:${"0".repeat(52)}`, narSize: 1 };
const lib = object("lib", [], known);
const app = object("app", ["lib"], known);
const owner = { uid: 1000, gid: 100, uname: "user", gname: "users" };
const options = { storeDir: "/nix/store", storeRoot: "/", owner };

describe("nixDatabaseTree", () => {
  it("is the database, its version and a root for every path, with directories from /nix down", () => {
    const tree = nixDatabaseTree([lib, app], options);
    expect(tree.map(({ path, type, mode }) => `${type} ${mode.toString(8)} ${path}`)).toEqual([
      "directory 755 /nix",
      "directory 755 /nix/store",
      "directory 755 /nix/store/.links",
      "directory 755 /nix/var",
      "directory 755 /nix/var/nix",
      "directory 755 /nix/var/nix/db",
      "directory 755 /nix/var/nix/gcroots",
      "directory 755 /nix/var/nix/gcroots/docker",
      `symlink 777 /nix/var/nix/gcroots/docker/${"a".repeat(32)}-app`,
      `symlink 777 /nix/var/nix/gcroots/docker/${"l".repeat(32)}-lib`,
      "file 644 /nix/var/nix/db/schema",
      "file 644 /nix/var/nix/db/db.sqlite",
    ]);
    expect(tree.every((made) => made.owner === owner)).toBe(true);
    expect(tree.flatMap((made) => (made.type === "symlink" ? [made.linkTarget] : []))).toEqual([
      path("app"),
      path("lib"),
    ]);
    const [schema, database] = tree.flatMap((made) => ("contents" in made ? [made.contents] : []));
    expect(String(schema)).toBe("10");
    expect(database).toEqual(formatNixDatabase([app, lib]));
  });

  it("gives the same tree whatever the order of the objects", () => {
    expect(nixDatabaseTree([app, lib, app], options)).toEqual(nixDatabaseTree([lib, app], options));
  });

  it("takes other modes", () => {
    const tree = nixDatabaseTree([lib], { ...options, directoryMode: 0o1775, fileMode: 0o600 });
    expect(new Set(tree.map(({ type, mode }) => `${type} ${mode.toString(8)}`))).toEqual(
      new Set(["directory 1775", "symlink 777", "file 600"]),
    );
  });

  it.each([
    ["/opt/nix/store", undefined, "/opt/nix", "/opt/nix/var/nix/db"],
    ["/opt/nix/store", "/var/lib/nix", "/opt", "/var/lib/nix/db"],
    ["/store", undefined, "/store", "/var/nix/db"],
  ])("serves a store in %s with its state in %s", (storeDir, stateDir, first, db) => {
    const objects = [object("lib", [], { ...known, path: path("lib", storeDir) })];
    const tree = nixDatabaseTree(objects, { ...options, storeDir, stateDir });
    const paths = tree.map((made) => made.path);
    expect(paths[0]).toBe(first);
    expect(paths).toContain(`${storeDir}/.links`);
    expect(paths).toContain(`${db}/db.sqlite`);
    expect(paths).not.toContain("");
  });
});
