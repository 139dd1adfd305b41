import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openSqlitePrivate, type SqliteDatabase } from "../../src/core/sqlite.js";
import { nixDatabaseFile, readLocalClosure } from "../../src/nix/local-database.js";
import { parseClosure } from "../../src/nix/read-closure.js";
import { graphOf } from "../unit/nix/fixtures.js";

const NIX_CONFIG = "experimental-features = nix-command\nbuild-users-group =\nsandbox = false\nsubstituters =\n";
const NOBODY = 65534;

// Not by running it: even `nix-store --version` makes /nix/var.
const nixMissing = spawnSync("sh", ["-c", "command -v nix-store"]).status !== 0;
if (nixMissing && process.env.CI) throw new Error("nix-store is not installed, and CI must test with it");

/** A store of its own: all its files are under `directory`, its logical store directory too. */
function storeIn(directory: string) {
  const nix = join(directory, "nix");
  const env = {
    ...process.env,
    NIX_CONFIG,
    NIX_REMOTE: "local",
    NIX_STORE_DIR: join(nix, "store"),
    NIX_STATE_DIR: join(nix, "var/nix"),
    NIX_LOG_DIR: join(nix, "var/log"),
    NIX_CONF_DIR: join(nix, "etc"),
  };
  return {
    storeDir: join(nix, "store"),
    database: join(nix, "var/nix/db/db.sqlite"),
    run: (command: string, ...args: readonly string[]) =>
      execFileSync(command, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trimEnd(),
  };
}

const isRoot = process.getuid?.() === 0;
const beside = (file: string) => readdirSync(dirname(file)).sort();

describe.skipIf(nixMissing)("the local Nix database (skipped where nix-store is not installed)", () => {
  let pristine: string;
  let app: string;

  let directory: string;
  let store: ReturnType<typeof storeIn>;
  let before: readonly string[];
  let temporary: string;

  beforeAll(() => {
    // The store's paths hold its directory, so each test gets the same directory with a fresh copy of what Nix made.
    directory = mkdtempSync(join(tmpdir(), "nix-database-"));
    pristine = `${directory}-pristine`;
    store = storeIn(directory);
    app = store.run("nix-build", "testdata/closures/closure.nix", "--attr", "app", "--no-out-link");
    cpSync(directory, pristine, { recursive: true, preserveTimestamps: true });
    return () => {
      for (const made of [directory, pristine]) rmSync(made, { recursive: true, force: true });
    };
  });

  beforeEach(() => {
    rmSync(directory, { recursive: true });
    cpSync(pristine, directory, { recursive: true, preserveTimestamps: true });
    chmodSync(directory, 0o755);
    before = beside(store.database);
    // Private copies of the database would be here; mode 1777 since some tests change the user.
    temporary = mkdtempSync(join(tmpdir(), "nix-database-tmp-"));
    chmodSync(temporary, 0o1777);
    const known = process.env.TMPDIR;
    process.env.TMPDIR = temporary;
    return () => {
      if (known === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = known;
    };
  });

  afterEach(() => {
    expect(readdirSync(temporary)).toEqual([]);
    rmSync(temporary, { recursive: true });
  });

  /** Makes a private copy of the database impossible, so that only reading in place can succeed. */
  const forbidCopies = () => {
    process.env.TMPDIR = join(temporary, "none");
  };

  /** Copies the database's files, as they are now, below another root. */
  const copyFiles = (...ends: readonly string[]) => {
    const storeRoot = join(directory, "copy");
    const database = nixDatabaseFile(store.storeDir, storeRoot);
    mkdirSync(dirname(database), { recursive: true });
    for (const end of ends) cpSync(store.database + end, database + end);
    const contents = () =>
      beside(database).map((name) => [name, readFileSync(join(dirname(database), name), "base64")]);
    return { storeRoot, database, contents };
  };

  /** Runs `action` as a user who may write neither the database nor its directory. */
  const asUnprivileged = async <T>(action: () => Promise<T>): Promise<T> => {
    const databaseDirectory = dirname(store.database);
    chmodSync(databaseDirectory, 0o555);
    if (isRoot) {
      process.setegid?.(NOBODY);
      process.seteuid?.(NOBODY);
    }
    try {
      return await action();
    } finally {
      if (isRoot) {
        process.seteuid?.(0);
        process.setegid?.(0);
      }
      chmodSync(databaseDirectory, 0o755);
    }
  };

  const requisites = () => store.run("nix-store", "--query", "--requisites", app).split("\n").sort();

  it("gives the closure that nix-store and nix path-info tell", async () => {
    const closure = await readLocalClosure([app]);
    expect(beside(store.database)).toEqual(before);
    expect([...closure.objects.keys()]).toEqual(requisites());
    expect(closure.roots).toEqual([app]);
    expect(closure.storeDir).toBe(store.storeDir);
    const dumped = parseClosure(store.run("nix-store", "--dump-db", ...requisites()), { source: "dump" });
    expect(closure).toEqual(dumped);
    const told = parseClosure(store.run("nix", "path-info", "--recursive", "--json", app), { source: "path-info" });
    expect(closure).toEqual(told);
  });

  it("gives no more than the roots reach, and keeps all roots", async () => {
    const [leaf, mid] = [requisites().find((path) => path.includes("leaf")), app] as [string, string];
    expect([...(await readLocalClosure([leaf])).objects.keys()]).toEqual([leaf]);
    expect((await readLocalClosure([mid, leaf, mid])).roots).toEqual([leaf, mid].sort());
  });

  it("keeps the content addresses of sources", async () => {
    const file = store.run("nix-store", "--add", "testdata/closures/closure.nix");
    const told = store.run("nix", "path-info", "--json", file);
    const closure = await readLocalClosure([file]);
    expect(closure.objects.get(file as never)?.ca).toMatch(/^fixed:r:sha256:/);
    expect(closure).toEqual(parseClosure(told, { source: "path-info" }));
  });

  it("reads /nix/store below another root", async () => {
    const root = join(directory, "root");
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Nix's own string interpolation
    const text = 'builtins.toFile "b" "refers to ${builtins.toFile "a" "hello"}"';
    // Nix makes its state directory even where the store is below another root.
    const env = {
      ...process.env,
      NIX_CONFIG,
      NIX_REMOTE: `local?root=${root}`,
      NIX_STATE_DIR: join(directory, "state"),
    };
    const nix = (command: string, ...args: string[]) =>
      execFileSync(command, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const path = nix("nix-instantiate", "--eval", "--read-write-mode", "--expr", text).replaceAll('"', "");
    expect(nixDatabaseFile("/nix/store", root)).toBe(join(root, "nix/var/nix/db/db.sqlite"));
    const closure = await readLocalClosure([path], { storeRoot: root });
    expect([...closure.objects.keys()]).toEqual(nix("nix-store", "--query", "--requisites", path).split("\n").sort());
    expect(closure.objects.size).toBe(2);
  });

  describe("while another program has it open", () => {
    let writer: SqliteDatabase;
    beforeEach(() => {
      writer = openSqlitePrivate(store.database);
      writer.pragma("wal_autocheckpoint = 0");
    });
    afterEach(() => {
      writer.close();
    });

    const add = () => {
      const path = `${store.storeDir}/${"a".repeat(32)}-added`;
      const insert = "insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 5)";
      writer.prepare(insert).run(path, `sha256:${"0".repeat(64)}`);
      return path;
    };

    it("reads what is only in the write-ahead log, in place", async () => {
      const path = add();
      expect(statSync(`${store.database}-wal`).size).toBeGreaterThan(0);
      const during = beside(store.database);
      forbidCopies();
      expect((await readLocalClosure([path])).objects.size).toBe(1);
      expect(beside(store.database)).toEqual(during);
    });

    it("does not wait for a write transaction, nor see what it has not committed", async () => {
      writer.exec("begin immediate");
      const path = add();
      const started = performance.now();
      expect([...(await readLocalClosure([app])).objects.keys()]).toEqual(requisites());
      await expect(readLocalClosure([path])).rejects.toMatchObject({ code: "not-found" });
      expect(performance.now() - started).toBeLessThan(2000);
      writer.exec("commit");
      expect((await readLocalClosure([path])).roots).toEqual([path]);
    });

    it("reads it in place as a user who can't write there", async () => {
      const path = add();
      const during = beside(store.database);
      forbidCopies();
      const closure = await asUnprivileged(() => readLocalClosure([path, app]));
      expect(closure.roots).toEqual([path, app].sort());
      expect(beside(store.database)).toEqual(during);
    });

    it.each([
      ["the log", ["", "-wal"]],
      ["the log and its index", ["", "-wal", "-shm"]],
    ])("reads what a killed writer left in %s", async (_, ends) => {
      const path = add();
      const { storeRoot, database, contents } = copyFiles(...ends);
      const left = contents();
      expect((await readLocalClosure([path], { storeRoot })).roots).toEqual([path]);
      expect(beside(database)).toEqual(ends.map((end) => `db.sqlite${end}`).sort());
      const withoutIndex = (files: readonly string[][]) => files.filter(([name]) => !name?.endsWith("-shm"));
      expect(withoutIndex(contents())).toEqual(withoutIndex(left));
    });

    it("reads one state while paths are added all the time", async () => {
      const script = `
        const Database = require(${JSON.stringify(resolve("node_modules/better-sqlite3"))});
        const db = new Database(process.argv[1], { timeout: 5000 });
        const add = db.prepare("insert into ValidPaths (path, hash, registrationTime) values (?, 'x', 1)");
        console.log("ready");
        for (let n = 0; ; n++) add.run("/path/" + process.pid + "/" + n);
      `;
      const child = spawn(process.execPath, ["-e", script, store.database], { stdio: ["ignore", "pipe", "inherit"] });
      try {
        await once(child.stdout, "data");
        const expected = graphOf(await readLocalClosure([app]));
        for (let n = 0; n < 20; n++) expect(graphOf(await readLocalClosure([app]))).toEqual(expected);
      } finally {
        child.kill("SIGKILL");
        await once(child, "close");
      }
    });
  });

  it("rolls back what a killed writer left half written in a database with a journal", async () => {
    const writer = openSqlitePrivate(store.database);
    writer.pragma("journal_mode = delete");
    writer.pragma("cache_size = 1"); // so that pages are written before the commit
    writer.exec("begin; update ValidPaths set narSize = 1;");
    const fill = writer.prepare("insert into ValidPaths (path, hash, registrationTime) values (?, ?, 1)");
    for (let n = 0; n < 500; n++) fill.run(`/path/${n}`, "x".repeat(500));
    const { storeRoot, contents } = copyFiles("", "-journal");
    writer.exec("rollback");
    writer.close();
    const left = contents();
    expect(graphOf(await readLocalClosure([app], { storeRoot }))).toEqual(graphOf(await readLocalClosure([app])));
    expect(contents()).toEqual(left);
  });

  it("reads a database without a log in place", async () => {
    const writer = openSqlitePrivate(store.database);
    writer.pragma("journal_mode = delete");
    writer.close();
    forbidCopies();
    expect((await readLocalClosure([app])).roots).toEqual([app]);
    expect(beside(store.database)).toEqual(before);
  });

  it("reads a database that is not open anywhere as a user who can't write there", async () => {
    const closure = await asUnprivileged(() => readLocalClosure([app]));
    expect([...closure.objects.keys()]).toEqual(requisites());
    expect(beside(store.database)).toEqual(before);
  });

  it("says why where the user can't read it", async () => {
    chmodSync(store.database, 0o000);
    await expect(asUnprivileged(() => readLocalClosure([app]))).rejects.toMatchObject({
      code: "unreadable",
      message: expect.stringContaining("permission denied"),
      hint: expect.stringContaining("--closure"),
    });
  });

  it.for([
    ["closed", [""]],
    ["left open by a killed writer", ["", "-wal", "-shm"]],
    ["left with a log but no index", ["", "-wal"]],
  ] as const)("reads a database %s from a read-only file system", async ([, ends], { skip }) => {
    const writer = openSqlitePrivate(store.database);
    writer.prepare("update ValidPaths set narSize = 77 where path = ?").run(app);
    if (ends.length === 1) writer.pragma("wal_checkpoint(truncate)");
    const { storeRoot, database } = copyFiles(...ends);
    writer.close();
    const mount = (...args: readonly string[]) => spawnSync("mount", args).status === 0;
    if (!mount("--bind", storeRoot, storeRoot)) skip("mounting is not allowed here");
    try {
      expect(mount("-o", "remount,bind,ro", storeRoot)).toBe(true);
      const closure = await readLocalClosure([app], { storeRoot });
      expect(closure.objects.get(app as never)?.narSize).toBe(77);
      expect(beside(database)).toEqual(ends.map((end) => `db.sqlite${end}`).sort());
    } finally {
      spawnSync("umount", [storeRoot]);
    }
  });

  it("reports a root that is not valid in it, with what to do", async () => {
    const path = `${store.storeDir}/${"a".repeat(32)}-missing`;
    await expect(readLocalClosure([app, path])).rejects.toMatchObject({
      code: "not-found",
      message: `${path} is not a valid path in the Nix database ${store.database}`,
      hint: expect.stringContaining("nix-store --realise"),
    });
    expect(beside(store.database)).toEqual(before);
  });

  it("is quick for 5,000 paths", async () => {
    const writer = openSqlitePrivate(store.database);
    const insert = writer
      .prepare("insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 5) returning id")
      .pluck();
    const refer = writer.prepare("insert or ignore into Refs values (?, ?)");
    const ids: number[] = [];
    const path = (n: number) => `${store.storeDir}/${String(n).padStart(32, "0")}-x`;
    writer.transaction(() => {
      for (let n = 0; n < 5000; n++) {
        ids.push(insert.get(path(n), `sha256:${"0".repeat(64)}`) as number);
        for (const back of [1, 2, 3, 10, 50, 100, 500]) if (n >= back) refer.run(ids[n], ids[n - back]);
      }
    })();
    writer.close();
    const before = process.cpuUsage();
    expect((await readLocalClosure([path(4999)])).objects.size).toBe(5000);
    expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
  });
});
