import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { type BlobCache, type CachedBlob, openBlobCache } from "../../../src/cache/blob-cache.js";
import { hexOf, sha256 } from "../../../src/core/digest.js";
import { createFile } from "../../../src/core/output-file.js";
import { temporaryDirectory } from "./fixtures.js";

let directory: string;
let blobs: string;
let problems: string[];
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = join(temporary.path, "cache");
  blobs = join(directory, "blobs", "sha256");
  problems = [];
  return temporary.remove;
});

const open = (budget: number) => openBlobCache(directory, budget, { onProblem: (message) => problems.push(message) });

const blobOf = (bytes: Buffer): CachedBlob => ({ digest: sha256(bytes), size: bytes.length });
const bytesOf = (name: string, size: number) => Buffer.alloc(size, name);

async function keep(cache: BlobCache, bytes: Buffer): Promise<CachedBlob> {
  const sink = await cache.begin();
  for (let at = 0; at < bytes.length; at += 1000) await sink.write(bytes.subarray(at, at + 1000));
  await sink.commit(blobOf(bytes));
  await sink.discard();
  return blobOf(bytes);
}

/** As if it had been used so many minutes ago. */
function age(blob: CachedBlob, minutes: number): void {
  const time = Date.now() / 1000 - 60 * minutes;
  utimesSync(join(blobs, hexOf(blob.digest)), time, time);
}

describe("the blob cache", () => {
  it("gives back the file of a blob that was kept", async () => {
    const bytes = bytesOf("layer", 5500);
    const blob = await keep(open(10_000), bytes);
    const file = open(10_000).find(blob) as string;
    expect(file).toBe(join(blobs, hexOf(blob.digest)));
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect(readdirSync(blobs)).toEqual([hexOf(blob.digest)]);
    expect(open(10_000).find(blobOf(bytesOf("other", 5500)))).toBeUndefined();
    expect(problems).toEqual([]);
  });

  it("removes the least recently used blobs, never the one just kept", async () => {
    const cache = open(3000);
    const [a, b, c] = [
      await keep(cache, bytesOf("a", 1000)),
      await keep(cache, bytesOf("b", 1000)),
      await keep(cache, bytesOf("c", 1000)),
    ];
    age(a, 30);
    age(b, 20);
    age(c, 10);
    expect(cache.find(a)).toBeDefined();
    const d = await keep(cache, bytesOf("d", 1500));
    age(d, 40);
    expect([a, b, c, d].map((blob) => existsSync(join(blobs, hexOf(blob.digest))))).toEqual([true, false, false, true]);
    const e = await keep(cache, bytesOf("e", 3000));
    expect(readdirSync(blobs)).toEqual([hexOf(e.digest)]);
  });

  it("keeps the newest blob though others seem to be used later", async () => {
    const cache = open(3000);
    age(await keep(cache, bytesOf("a", 2000)), -60);
    const b = await keep(cache, bytesOf("b", 2000));
    expect(readdirSync(blobs)).toEqual([hexOf(b.digest)]);
  });

  it("does not keep a blob that is larger than the budget, and removes no other for it", async () => {
    const cache = open(3000);
    const small = await keep(cache, bytesOf("small", 2000));
    const large = await keep(cache, bytesOf("large", 3001));
    expect(cache.find(large)).toBeUndefined();
    expect(readdirSync(blobs)).toEqual([hexOf(small.digest)]);
    expect(problems).toEqual([]);
  });

  it("leaves nothing of a blob that was discarded, or was not all written", async () => {
    const cache = open(3000);
    const discarded = await cache.begin();
    await discarded.write(bytesOf("x", 100));
    expect(readdirSync(blobs)).toHaveLength(1);
    await discarded.discard();
    const short = await cache.begin();
    await short.write(bytesOf("x", 100));
    await short.commit(blobOf(bytesOf("x", 101)));
    expect(readdirSync(blobs)).toEqual([]);
  });

  it("does not find a blob whose size is not its own, nor one that was dropped", async () => {
    const cache = open(3000);
    const cut = await keep(cache, bytesOf("cut", 1000));
    const dropped = await keep(cache, bytesOf("dropped", 1000));
    truncateSync(join(blobs, hexOf(cut.digest)), 999);
    cache.drop(dropped.digest);
    cache.drop(sha256("never kept"));
    expect(cache.find(cut)).toBeUndefined();
    expect(cache.find(dropped)).toBeUndefined();
    expect(readdirSync(blobs)).toEqual([]);
  });

  it("removes what killed processes left: of this machine at once, of others when it is a day old", () => {
    mkdirSync(blobs, { recursive: true });
    const { fd } = createFile(blobs);
    closeSync(fd);
    const [ours = ""] = readdirSync(blobs);
    const killed = spawnSync("true").pid;
    const left = ours.replace(`-${process.pid}-`, `-${killed}-`);
    const [old, young, other] = [
      ".oci-nix-01234567-1-0123456789ab.tmp",
      ".oci-nix-01234567-2-0123456789ab.tmp",
      "notes",
    ];
    for (const name of [left, old, young, other] as string[]) writeFileSync(join(blobs, name), "x");
    const time = Date.now() / 1000 - 90_000;
    for (const name of [old, other] as string[]) utimesSync(join(blobs, name), time, time);
    open(1);
    expect(readdirSync(blobs).sort()).toEqual([ours, young, other].sort());
  });

  it("keeps nothing where it cannot, says so once, and fails nobody", async () => {
    mkdirSync(directory);
    writeFileSync(join(directory, "blobs"), "in the way");
    const cache = open(3000);
    const blob = await keep(cache, bytesOf("x", 1000));
    await keep(cache, bytesOf("y", 1000));
    expect(cache.find(blob)).toBeUndefined();
    cache.drop(blob.digest);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(blobs);
  });
});
