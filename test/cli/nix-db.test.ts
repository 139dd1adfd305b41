import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { temporaryName } from "../../src/core/temporary.js";
import { readLocalClosure } from "../../src/nix/local-database.js";
import { parseClosure } from "../../src/nix/read-closure.js";
import { installForEverybody, runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { graphOf } from "../unit/nix/fixtures.js";

const uid = process.getuid?.() ?? 0;
const gid = process.getgid?.() ?? 0;
const OWNER = ["--uid", String(uid), "--gid", String(gid)];

let directory: string;
let store: SampleStore;
let to: string;
let database: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-nix-db-"));
  store = copySampleStore(directory);
  to = join(directory, "root");
  database = join(to, "nix/var/nix/db/db.sqlite");
  return () => rmSync(directory, { recursive: true, force: true });
});

const nixDb = (...more: string[]) => runCli(["nix-db", store.closureFile, ...OWNER, ...more]);
const graph = () => JSON.parse(readFileSync(store.closureFile, "utf8")) as { path: string; references: string[] }[];

function expectError(result: CommandResult, status: number, message: RegExp | string): void {
  expect(result.stderr).toMatch(message);
  expect(result.stderr).toMatch(/^error: [^\n]+\n(?: {2}hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
  expect(result.status).toBe(status);
  expect(result.stdout).toHaveLength(0);
}

describe("oci-nix nix-db", () => {
  it("writes a database that is read back as the closure it was made from", async () => {
    const result = expectOk(await nixDb("--to", to), "nix-db");
    expect(result.stderr).toMatch(/^\S+\/root\/nix\/var\/nix\/db\/db\.sqlite: 5 store paths, [^\n]+\n$/);
    const closure = parseClosure(readFileSync(store.closureFile, "utf8"), { source: "closure" });
    expect(graphOf(await readLocalClosure(closure.roots, { storeRoot: to }))).toEqual(graphOf(closure));
    const again = join(directory, "again");
    expectOk(
      await runCli(["nix-db", ...closure.roots, "--store-root", to, ...OWNER, "--to", again], {
        wrapper: ["sh", "-c", 'umask 077; exec "$@"', "sh"],
        env: { TZ: "Asia/Tokyo", LC_ALL: "C" },
      }),
      "nix-db of its own database",
    );
    expect(readFileSync(join(again, "nix/var/nix/db/db.sqlite")).equals(readFileSync(database))).toBe(true);
    expect(statSync(join(again, "nix/var/nix/db/db.sqlite")).mode & 0o777).toBe(0o644);
    expect(statSync(join(again, "nix/store/.links")).mode & 0o777).toBe(0o755);
  });

  it("says as JSON what it wrote, and with --quiet nothing", async () => {
    const result = expectOk(await nixDb("--to", to, "--json"), "nix-db");
    expect(JSON.parse(result.stdout.toString())).toEqual({
      database,
      size: statSync(database).size,
      storePaths: 5,
    });
    expect(result.stderr).toBe("");
    expect(expectOk(await nixDb("--to", to, "--quiet"), "nix-db").stderr).toBe("");
  });

  it("takes a spec file, with its owner and its exclusions", async () => {
    const unused = graph().find(({ path }) => !graph().some((o) => o.path !== path && o.references.includes(path)));
    const spec = join(directory, "spec.json");
    const excluded = unused?.path as string;
    writeFileSync(spec, JSON.stringify({ closure: { graph: store.closureFile }, uid, gid, exclude: [excluded] }));
    expectOk(await runCli(["nix-db", spec, "--to", to]), "nix-db");
    await expect(readLocalClosure([excluded], { storeRoot: to })).rejects.toMatchObject({ code: "not-found" });
    expect(readdirSync(join(to, "nix/var/nix/gcroots/docker"))).toHaveLength(4);
  });

  it("refuses to leave out what others refer to", async () => {
    const users = graph().filter((o) => o.references.some((reference) => reference !== o.path));
    const used = users[0]?.references.find((reference) => reference !== users[0]?.path) as string;
    const result = await nixDb("--to", to, "--exclude", used);
    expectError(result, 1, "cannot be in the Nix database: it refers to 1 store path that the database does not hold");
    expect(result.stderr).toContain(used);
    expect(existsSync(to)).toBe(false);
  });

  it("refuses a closure that tells no hashes", async () => {
    const file = join(directory, "bare.json");
    writeFileSync(file, JSON.stringify(graph().map(({ path, references }) => ({ path, references }))));
    const result = await runCli(["nix-db", file, "--to", to]);
    expectError(result, 1, /the NAR hash of \S+ is not known/);
    expect(existsSync(to)).toBe(false);
  });

  it.each([
    ["no directory", [], /nix-db needs --to DIR/],
    ["an empty directory", ["--to", ""], /nix-db needs --to DIR/],
    ["an owner's name, which no directory has", ["--to", "x", "--uname", "me"], /unknown flag --uname/],
    ["an owner that is none", ["--to", "x", "--uid", "4294967295"], /uid must be a whole number/],
  ])("refuses %s", async (_, flags, message) => {
    expectError(await runCli(["nix-db", store.closureFile, ...flags], { cwd: directory }), 2, message);
    expect(existsSync(join(directory, "x"))).toBe(false);
  });

  it("leaves the same database as it is, and never overwrites another", async () => {
    expectOk(await nixDb("--to", to), "nix-db");
    const { ino } = statSync(database);
    expectOk(await nixDb("--to", to), "nix-db");
    expect(statSync(database).ino).toBe(ino);
    writeFileSync(database, "another");
    expectError(await nixDb("--to", to), 1, "db.sqlite is there already, with other contents: nothing was written");
    expect(readFileSync(database, "utf8")).toBe("another");
  });

  it.each(["-wal", "-journal"])("writes no database beside another's %s, which SQLite would add to it", async (end) => {
    mkdirSync(join(to, "nix/var/nix/db"), { recursive: true });
    writeFileSync(database + end, "x");
    expectError(await nixDb("--to", to), 1, `db.sqlite${end} is there: nothing was written`);
    expect(readdirSync(join(to, "nix/var/nix/db"))).toEqual([`db.sqlite${end}`]);
  });

  it("goes on where another one was killed, and removes what that left", async () => {
    const state = join(to, "nix/var/nix");
    mkdirSync(join(state, "db"), { recursive: true });
    const [file = "", made = ""] = [join(state, "db"), to].map((at) =>
      temporaryName(at).replace(`-${process.pid}-`, `-${2 ** 22 + 1}-`),
    );
    writeFileSync(file, "half a database");
    mkdirSync(made, 0o755);
    expectOk(await nixDb("--store-root", store.storeRoot, "--to", to), "nix-db");
    expect(readdirSync(to)).toEqual(["nix"]);
    expect(readdirSync(join(state, "db")).sort()).toEqual(["db.sqlite", "schema"]);
  });

  it("says where the derivations are that it has to read", async () => {
    const file = join(directory, "derivation.json");
    const [first] = graph();
    const path = `${first?.path}.drv`;
    writeFileSync(file, JSON.stringify([{ ...first, path, references: [] }]));
    expectError(await runCli(["nix-db", file, "--to", to, "--store-root", directory]), 1, /cannot read the derivation/);
    expect(existsSync(to)).toBe(false);
  });

  it.skipIf(uid !== 0)("tells a user who is not root whose the files can be", async () => {
    const { directory: installed, program } = installForEverybody();
    try {
      chmodSync(directory, 0o777);
      const asNobody = { uid: 65534, gid: 65534, program };
      const result = await runCli(["nix-db", store.closureFile, "--to", to], asNobody);
      expectError(result, 1, "cannot be given to 0:0, the user 65534:65534 may not do that");
      expect(existsSync(to)).toBe(false);
      const own = ["--uid", "65534", "--gid", "65534"];
      expectOk(await runCli(["nix-db", store.closureFile, "--to", to, ...own], asNobody), "nix-db");
      expect(statSync(database).uid).toBe(65534);
    } finally {
      rmSync(installed, { recursive: true, force: true });
    }
  });
});
