import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openSqlitePrivate } from "../../src/core/sqlite.js";
import { readLocalClosure } from "../../src/nix/local-database.js";
import { runCli } from "../support/cli.js";
import { type CommandOptions, expectOk, runCommand } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

const isRoot = process.getuid?.() === 0;
const OWNER = ["--uid", String(process.getuid?.()), "--gid", String(process.getgid?.())];
const UNPRIVILEGED = 1000;

describe.skipIf(requireTools(...REAL_STORE_TOOLS))("a store whose database oci-nix wrote", () => {
  let store: RealStore;
  let bash: string;
  /** The closure of bash. */
  let closure: readonly string[];
  let directory: string;
  let root: string;
  let database: string;

  /** Runs Nix in the file system below `root`, with nothing of this machine's configuration. */
  const nixIn = (where: string, command: string, args: readonly string[], options: CommandOptions = {}) => {
    const env = {
      ...process.env,
      HOME: directory,
      NIX_REMOTE: `local?root=${where}`,
      // Nix makes it even where the store is below another root.
      NIX_STATE_DIR: join(directory, "state"),
      NIX_CONF_DIR: "/nonexistent",
      NIX_USER_CONF_FILES: "",
      NIX_PATH: "",
      NIX_CONFIG: "build-users-group =\nsandbox = false\nsandbox-paths = /bin /usr /lib? /lib64?\nsubstituters =\n",
    };
    return runCommand(command, args, { env, ...options });
  };
  const nix = async (command: string, ...args: string[]) =>
    expectOk(await nixIn(root, command, args), `${command} ${args.join(" ")}`);
  const lines = (output: Buffer) => output.toString().split("\n").filter(Boolean).sort();

  const copyStorePaths = (paths: readonly string[], to: string) => {
    mkdirSync(join(to, "nix/store"), { recursive: true });
    execFileSync("cp", ["-a", "--reflink=auto", "-t", join(to, "nix/store"), ...paths.map((p) => store.storeRoot + p)]);
  };
  const nixDb = async (roots: readonly string[], to: string, ...flags: string[]) =>
    expectOk(await runCli(["nix-db", ...roots, "--store-root", store.storeRoot, "--to", to, ...flags]), "nix-db");
  const remove = (path: string) => {
    if (existsSync(path)) execFileSync("chmod", ["-R", "u+w", path]);
    rmSync(path, { recursive: true, force: true });
  };

  beforeAll(async () => {
    store = await realStore("small");
    bash = store.packages.bash as string;
    closure = [...(await readLocalClosure([bash], { storeRoot: store.storeRoot })).objects.keys()];
  }, 30 * 60_000);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-real-db-"));
    chmodSync(directory, 0o755);
    root = join(directory, "root");
    database = join(root, "nix/var/nix/db/db.sqlite");
    return () => remove(directory);
  });

  it("is verified by Nix, contents included, and leaves the database as it was", async () => {
    const { objects } = await readLocalClosure(store.roots, { storeRoot: store.storeRoot });
    copyStorePaths([...objects.keys()], root);
    await nixDb(store.roots, root, ...OWNER);
    const before = readFileSync(database);
    const verified = await nix("nix-store", "--verify", "--check-contents");
    expect(verified.stderr).not.toMatch(/disappeared|modified|error|warning|not valid/);
    expect(verified.stderr).toContain("checking store hashes");
    expect(readFileSync(database).equals(before)).toBe(true);
    for (const path of store.roots) {
      const reference = await nixIn(store.storeRoot, "nix-store", ["--query", "--requisites", path]);
      expect(lines((await nix("nix-store", "--query", "--requisites", path)).stdout)).toEqual(lines(reference.stdout));
    }
  }, 120_000);

  it("tells of every path what the database that Nix wrote tells", async () => {
    copyStorePaths(closure, root);
    await nixDb([bash], root, ...OWNER);
    // More paths may refer to these in the whole store.
    const known = (output: Buffer) => lines(output).filter((line) => !line.startsWith("/") || closure.includes(line));
    const tell = async (where: string, query: string) => {
      const results = await Promise.all(closure.map((path) => nixIn(where, "nix-store", ["--query", query, path])));
      return results.map((result) => known(expectOk(result, `nix-store --query ${query}`).stdout));
    };
    for (const query of ["--hash", "--size", "--references", "--referrers"]) {
      expect(await tell(root, query)).toEqual(await tell(store.storeRoot, query));
    }
  }, 120_000);

  it("has a root for every path, so that nothing is garbage", async () => {
    copyStorePaths(closure, root);
    await nixDb([bash], root, ...OWNER);
    expect((await nix("nix-store", "--gc", "--print-dead")).stdout.toString()).toBe("");
    expect(lines((await nix("nix-store", "--gc", "--print-live")).stdout)).toEqual(closure);
    const roots = lines((await nix("nix-store", "--query", "--roots", bash)).stdout);
    expect(roots).toEqual([`${root}/nix/var/nix/gcroots/docker/${basename(bash)} -> ${bash}`]);
    await nix("nix-store", "--gc");
    expect(closure.filter((path) => !existsSync(root + path))).toEqual([]);
    // A profile's links are roots though there is no link to the profiles among the roots.
    const added = join(directory, "added");
    writeFileSync(added, "added");
    const path = (await nix("nix-store", "--add", added)).stdout.toString().trim();
    expect((await nix("nix-store", "--gc", "--print-dead")).stdout.toString()).toBe(`${path}\n`);
    symlinkSync(path, join(root, "nix/var/nix/profiles/added"));
    expect((await nix("nix-store", "--gc", "--print-dead")).stdout.toString()).toBe("");
  }, 120_000);

  const derivation = (name: string) =>
    `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; bash = builtins.storePath ${bash}; args = [ "-c" "echo $bash > $out" ]; }`;

  it("takes what Nix builds into it", async () => {
    copyStorePaths(closure, root);
    await nixDb([bash], root, ...OWNER);
    const built = (await nix("nix-build", "--no-out-link", "--expr", derivation("trivial"))).stdout.toString().trim();
    expect(readFileSync(root + built, "utf8")).toBe(`${bash}\n`);
    expect(lines((await nix("nix-store", "--query", "--requisites", built)).stdout)).toEqual(
      [...closure, built].sort(),
    );
    await nix("nix-store", "--verify", "--check-contents");
    const read = await readLocalClosure([built], { storeRoot: root });
    expect([...read.objects.keys()]).toEqual([...closure, built].sort());
    const opened = openSqlitePrivate(database);
    expect(opened.pragma("integrity_check", { simple: true })).toBe("ok");
    opened.close();
    const again = await runCli(["nix-db", bash, "--store-root", store.storeRoot, "--to", root, ...OWNER]);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain("is there already, with other contents: nothing was written");
  }, 120_000);

  it.skipIf(!isRoot)(
    "serves a user who owns it",
    async () => {
      copyStorePaths(closure, root);
      // The store paths' owner is theirs who put them there.
      await nixDb([bash], join(directory, "database"), "--uid", String(UNPRIVILEGED), "--gid", String(UNPRIVILEGED));
      execFileSync("cp", ["-a", join(directory, "database/nix"), root]);
      execFileSync("chown", ["-R", "-h", `${UNPRIVILEGED}:${UNPRIVILEGED}`, ...closure.map((path) => root + path)]);
      for (const path of ["nix", "nix/store", "nix/store/.links", "nix/var/nix/db/db.sqlite", "nix/var/nix/gcroots"]) {
        expect([path, statSync(join(root, path)).uid]).toEqual([path, UNPRIVILEGED]);
      }
      chmodSync(directory, 0o777);
      const asUser = async (command: string, ...args: string[]) =>
        expectOk(await nixIn(root, command, args, { uid: UNPRIVILEGED, gid: UNPRIVILEGED }), `${command} as a user`);
      expect((await asUser("nix-store", "--verify", "--check-contents")).stderr).not.toMatch(/disappeared|modified/);
      expect(lines((await asUser("nix-store", "--query", "--requisites", bash)).stdout)).toEqual(closure);
      expect((await asUser("nix-store", "--gc", "--print-dead")).stdout.toString()).toBe("");
      const built = (await asUser("nix-build", "--no-out-link", "--expr", derivation("theirs"))).stdout
        .toString()
        .trim();
      expect(statSync(root + built).uid).toBe(UNPRIVILEGED);
    },
    120_000,
  );

  it("is not busy while another program reads it for the first time (nix2container #218)", async () => {
    await nixDb([bash], root, ...OWNER);
    const reader = openSqlitePrivate(database);
    try {
      reader.exec("begin");
      reader.prepare("select count(*) from ValidPaths").get();
      const result = await nixIn(root, "nix-store", ["--query", "--hash", bash], { timeoutMs: 15_000 });
      expect(expectOk(result, "nix-store").stderr).not.toContain("busy");
    } finally {
      reader.close();
    }
  }, 30_000);

  describe("beside a database that nix-store --load-db made of the same closure", () => {
    let loaded: string;
    let drv: string;
    let drvs: readonly string[];
    let theirs: string;

    beforeEach(async () => {
      // With derivations, whose outputs Nix registers, too.
      drv = (await nixIn(store.storeRoot, "nix-store", ["--query", "--deriver", bash])).stdout.toString().trim();
      drvs = [...(await readLocalClosure([drv], { storeRoot: store.storeRoot })).objects.keys()];
      loaded = join(directory, "loaded");
      copyStorePaths([...drvs, ...closure], loaded);
      const objects = (await readLocalClosure([drv, bash], { storeRoot: store.storeRoot })).objects.values();
      const registration = [...objects].map(({ path, narHash, narSize, references }) =>
        [path, narHash, narSize, "", references.length, ...references].join("\n"),
      );
      const dump = join(directory, "registration");
      writeFileSync(dump, `${registration.join("\n")}\n`);
      const env = { ...process.env, NIX_REMOTE: `local?root=${loaded}`, NIX_STATE_DIR: join(directory, "state") };
      const done = await runCommand("nix-store", ["--load-db"], {
        env: { ...env, NIX_CONF_DIR: "/nonexistent", NIX_CONFIG: "build-users-group =\n" },
        stdin: { file: dump },
      });
      expectOk(done, "nix-store --load-db");
      theirs = join(loaded, "nix/var/nix/db/db.sqlite");
      await nixDb([drv, bash], root, ...OWNER);
    }, 60_000);

    const read = (file: string, sql: string) => {
      const copy = join(directory, "copy.sqlite");
      cpSync(file, copy);
      const opened = openSqlitePrivate(copy);
      try {
        return opened.prepare(sql).raw().all();
      } finally {
        opened.close();
      }
    };

    it("has the same schema, page for page, and the same version", () => {
      const schema = "select type, name, tbl_name, rootpage, sql from sqlite_master order by rowid";
      expect(read(database, schema)).toEqual(read(theirs, schema));
      for (const [from, to] of [
        [0, 24],
        [40, 92],
      ] as const) {
        const part = (file: string) => readFileSync(file).toString("hex", from, to);
        expect(part(database)).toBe(part(theirs));
      }
      const version = (file: string) => readFileSync(join(file, "../schema"), "utf8");
      expect(version(database)).toBe(version(theirs));
    });

    it("has the same rows but for the time of registration", () => {
      for (const table of [
        "(select id, path, hash, deriver, narSize, ultimate, sigs, ca from ValidPaths)",
        "Refs",
        "DerivationOutputs",
        "sqlite_sequence",
      ]) {
        const rows = read(theirs, `select * from ${table}`);
        expect(rows.length).toBeGreaterThan(0);
        expect(read(database, `select * from ${table}`)).toEqual(rows);
      }
    });

    it("is accepted with its derivations", async () => {
      copyStorePaths([...drvs, ...closure], root);
      expect((await nix("nix-store", "--verify", "--check-contents")).stderr).not.toMatch(/disappeared|modified/);
      expect(lines((await nix("nix-store", "--realise", drv)).stdout)).toEqual([bash]);
      expect((await nix("nix-store", "--query", "--outputs", drv)).stdout.toString()).toBe(`${bash}\n`);
    });
  });
});
