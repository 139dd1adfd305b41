import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { HostilePlace } from "../support/hostile/run.js";
import { Database, NIX_SCHEMA } from "../support/hostile/seeds.js";

const place = new HostilePlace();
afterAll(() => place.close());
const A = "/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a";
const B = "/nix/store/ihlffjdbh63dzhp7sm3pvv93cmrwbi0g-b";
const HASH = `sha256:${"ab".repeat(32)}`;
const PATHS = `${NIX_SCHEMA} insert into ValidPaths (path, hash, registrationTime, narSize) values ('${A}', '${HASH}', 1, 1);`;
const ENDLESS = "with recursive c(x) as (values (1) union all select x + 1 from c)";

/** What `closure` says of a database, beside which nothing is left. */
async function refused(sql: string, change: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<string> {
  const file = place.path("root/nix/var/nix/db/db.sqlite");
  mkdirSync(dirname(file), { recursive: true });
  const database = new Database(":memory:");
  database.exec(sql);
  writeFileSync(file, change(Buffer.from(database.serialize())));
  database.close();
  const { status, stderr, stdout } = await place.run(["closure", "--store-root", place.path("root"), A]);
  expect(status).toBe(1);
  expect(stdout).toBe("");
  expect(readdirSync(dirname(file))).toEqual(["db.sqlite"]);
  return stderr;
}

describe("a Nix database that lies", { timeout: 60_000 }, () => {
  it("by views and virtual tables in the tables' places is refused before anything of them runs", async () => {
    const columns = `x as id, 'p' || x as path, '${HASH}' as hash, 1 as narSize`;
    expect(
      await refused(
        `create view ValidPaths as ${ENDLESS} select ${columns} from c; create table Refs (referrer, reference);`,
      ),
    ).toMatch(/ValidPaths is no table/);
    expect(
      await refused(
        `${PATHS} drop table Refs; create view Refs as ${ENDLESS} select 1 as referrer, x as reference from c;`,
      ),
    ).toMatch(/Refs is no table/);
    expect(
      await refused(
        "create virtual table ValidPaths using fts5(id, path, hash, narSize); create table Refs (referrer, reference);",
      ),
    ).toMatch(/ValidPaths is no table/);
    expect(
      await refused(
        `create table ValidPaths (id integer primary key, path text, hash text as (hex(zeroblob(1e8))), narSize int); create table Refs (referrer, reference); insert into ValidPaths (path) values ('${A}');`,
      ),
    ).toMatch(/lacks the column hash/);
  });

  it("in its rows is refused", async () => {
    const second = (path: string) =>
      `${PATHS} insert into ValidPaths (path, hash, registrationTime, narSize) values ('${path}', '${HASH}', 1, 1);`;
    expect(await refused(`${second(B)} insert into Refs values (1, 2), (2, 1);`)).toMatch(/cycle of references/);
    expect(await refused(`${second("/nix/store/../../etc/passwd")} insert into Refs values (1, 2);`)).toMatch(
      /is not a store path/,
    );
    expect(await refused(`${PATHS} insert into Refs values (1, 9223372036854775807);`)).toMatch(/is corrupt/);
    expect(await refused(`${PATHS} update ValidPaths set hash = hex(zeroblob(50000000));`)).toMatch(/is not a hash/);
    expect(await refused(`${PATHS} update ValidPaths set hash = x'00', narSize = -1;`)).toMatch(/is not a hash/);
    expect(await refused(`${PATHS} update ValidPaths set narSize = -9223372036854775808;`)).toMatch(/is not a size/);
    expect(
      await refused(
        `${PATHS} with recursive c(x) as (values (1) union all select x + 1 from c limit 1000001) insert into Refs select 1, x from c;`,
      ),
    ).toMatch(/more than 1000000 references/);
  });

  it("by having no indices, so that every look-up would read all, is refused", async () => {
    const tables = (path: string, refs: string) =>
      `create table ValidPaths (id integer primary key, path text ${path}, hash text, narSize int);
       create table Refs (referrer, reference${refs});
       insert into ValidPaths (path, hash, narSize) values ('${A}', '${HASH}', 1);`;
    expect(await refused(tables("", ", primary key (referrer, reference)"))).toMatch(/lacks an index for .* path = /);
    expect(await refused(tables("unique", ""))).toMatch(/lacks an index for .* referrer = /);
    expect(
      await refused(
        tables("unique", ", primary key (referrer, reference)").replace("id integer primary key", "id integer"),
      ),
    ).toMatch(/lacks an index for .* id = /);
  });

  it("in its pages is refused", async () => {
    expect(await refused(PATHS, (bytes) => bytes.fill(0xff, 4096))).toMatch(/not an intact SQLite database/);
    expect(await refused(PATHS, (bytes) => bytes.subarray(0, 5000))).toMatch(/not an intact SQLite database/);
    expect(await refused(PATHS, () => Buffer.from("no database"))).toMatch(/not an intact SQLite database/);
  });
});
