import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type BetterSqlite3 from "better-sqlite3";
import { openDigestCache } from "../../../src/cache/digest-cache.js";
import type { Digest } from "../../../src/core/digest.js";
import { hexSha256, packTar } from "../confs.js";
import { LayoutFixture, OCI } from "../layouts.js";
import { member, paxPayload } from "./tar.js";

/** SQLite, to make databases as Nix does, and as nobody should. */
export const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;

/** Layers of every kind of entry and header, each valid. */
export async function seedLayers(): Promise<readonly Buffer[]> {
  const plain = await packTar([
    ["etc/a", "text"],
    [`${"long/".repeat(30)}name`, "x"],
    ["b", { symlink: "etc/a" }],
    ["c", { link: "etc/a" }],
  ]);
  const end = Buffer.alloc(1024);
  const odd = Buffer.concat([
    member({
      name: "x",
      type: "x",
      content: paxPayload({ path: "p/é", size: "3", mtime: "1.5", "SCHILY.xattr.user.a": "b" }),
    }),
    member({ name: "p", content: Buffer.from("abc") }),
    member({ name: "././@LongLink", type: "L", content: Buffer.from(`${"n".repeat(150)}\0`) }),
    member({ name: "n", content: Buffer.from("n") }),
    member({ name: "././@LongLink", type: "K", content: Buffer.from(`${"t".repeat(150)}\0`) }),
    member({ name: "l", type: "2", linkName: "t" }),
    member({ name: "h", type: "1", linkName: "n" }),
    member({ name: "dev", type: "3" }),
    member({ name: ".wh.x" }),
    member({ name: "g", type: "g", content: paxPayload({ comment: "c" }) }),
    member({ name: "s", type: "S" }),
    end,
  ]);
  return [plain, odd];
}

/** A docker-archive, an OCI archive, both in one, and one of Docker before 1.10. */
export async function seedArchives(): Promise<readonly Buffer[]> {
  const [layer, odd] = (await seedLayers()) as [Buffer, Buffer];
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Env: ["A=b"] },
    rootfs: { type: "layers", diff_ids: [layer, odd].map((tar) => `sha256:${hexSha256(tar)}`) },
  });
  const docker = await packTar([
    [
      "manifest.json",
      JSON.stringify([{ Config: "config.json", RepoTags: ["app:1"], Layers: ["a.tar", "b/layer.tar"] }]),
    ],
    ["config.json", config],
    ["a.tar", layer],
    ["b/layer.tar", gzipSync(odd)],
  ]);
  const id = "a".repeat(64);
  const legacy = await packTar([
    ["repositories", JSON.stringify({ app: { 1: id } })],
    [`${id}/json`, JSON.stringify({ id, created: "2014-01-01T00:00:00Z" })],
    [`${id}/layer.tar`, layer],
  ]);
  const fixture = new LayoutFixture();
  fixture.add(
    fixture.image({ layers: [{ tar: layer, stored: gzipSync(layer), mediaType: `${OCI}.layer.v1.tar+gzip` }] }),
    "app:1",
  );
  return [docker, legacy, await fixture.archive()];
}

/** A Nix database with two paths, and a way to put another one in its place. */
export function seedDatabase(directory: string): {
  readonly storeRoot: string;
  readonly bytes: Buffer;
  replace(bytes: Buffer): void;
} {
  const storeRoot = join(directory, "store-root");
  const file = join(storeRoot, "nix/var/nix/db/db.sqlite");
  mkdirSync(dirname(file), { recursive: true });
  const database = new Database(":memory:");
  database.exec(NIX_SCHEMA);
  const insert = database.prepare(
    "insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 100)",
  );
  const hash = `sha256:${"ab".repeat(32)}`;
  insert.run("/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-greeting-translations-1.0", hash);
  insert.run("/nix/store/ihlffjdbh63dzhp7sm3pvv93cmrwbi0g-greeting-environment-1.0", hash);
  database.exec("insert into Refs values (1, 2), (1, 1), (2, 2)");
  const bytes = Buffer.from(database.serialize());
  database.close();
  return {
    storeRoot,
    bytes,
    replace(other) {
      for (const end of ["-wal", "-shm", "-journal"]) rmSync(file + end, { force: true });
      writeFileSync(file, other);
    },
  };
}

/** Of Nix 2.8, without what no closure needs. */
export const NIX_SCHEMA = `
  create table ValidPaths (id integer primary key autoincrement not null, path text unique not null, hash text not null,
    registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text);
  create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
  create index IndexReferrer on Refs (referrer);
  create index IndexReference on Refs (reference);`;

/** An OCI layout with an image of one layer, and a way to put another index.json in its place, which gives the layout's directory. */
export function layoutIn(directory: string, layer: Buffer): { readonly index: Buffer; replace(index: Buffer): string } {
  const layout = join(directory, "layout");
  const fixture = new LayoutFixture();
  fixture.add(fixture.image({ layers: [{ tar: layer }] }), "app:1");
  fixture.write(layout);
  const file = join(layout, "index.json");
  return {
    index: readFileSync(file),
    replace(index) {
      writeFileSync(file, index);
      return layout;
    },
  };
}

/** The bytes of a digest cache with a row in each table. */
export function cacheDatabase(directory: string): Buffer {
  mkdirSync(directory, { recursive: true });
  const digest = `sha256:${"ab".repeat(32)}` as Digest;
  const cache = openDigestCache(directory);
  cache.rememberLayer(digest, { diffId: digest, size: 1 }, "title");
  cache.rememberBlob(digest, "gzip:6", { digest, size: 1 });
  cache.rememberRepository("r.example", digest, "app");
  cache.close();
  const database = new Database(join(directory, "digests.sqlite"), { readonly: true });
  const bytes = Buffer.from(database.serialize());
  database.close();
  return bytes;
}
