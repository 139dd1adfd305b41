import { randomInt } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { openDigestCache } from "../../src/cache/digest-cache.js";
import { exportCache, importCache } from "../../src/cache/exchange.js";
import { cacheInfo } from "../../src/cache/maintenance.js";
import { sha256 } from "../../src/core/digest.js";
import { installForEverybody, PROJECT } from "../support/cli.js";
import { type CommandOptions, expectOk, runCommand, startCommand } from "../support/command.js";
import { temporaryDirectory } from "../unit/cache/fixtures.js";

let directory: string;
beforeEach(() => {
  const temporary = temporaryDirectory();
  directory = temporary.path;
  return temporary.remove;
});

/** A program that has the caches open; `name` is its first argument, `count` its second. Prints JSON. */
function program(body: string, installed = PROJECT): readonly string[] {
  const library = pathToFileURL(join(installed, "dist/index.js")).href;
  return [
    "--input-type=module",
    "-e",
    `import { createHash } from "node:crypto";
    import { openBlobCache, openDigestCache } from ${JSON.stringify(library)};
    const [directory, name, count] = process.argv.slice(1);
    const sha256 = (bytes) => "sha256:" + createHash("sha256").update(bytes).digest("hex");
    const problems = [];
    const onProblem = (message) => problems.push(message);
    ${body}`,
    "--",
  ];
}

const REMEMBER = `
  const cache = openDigestCache(directory, { onProblem });
  for (let n = 0; n < Number(count); n++) {
    cache.rememberLayer(sha256(name + n), { diffId: sha256("layer " + name + n), size: n }, "x".repeat(n % 300));
    if (n % 10 === 0) cache.layer(sha256(name + (n - 5)));
  }
  cache.close();
  console.log(JSON.stringify(problems));`;

const LOOK_UP = `
  const cache = openDigestCache(directory, { onProblem });
  let known = 0, wrong = 0;
  for (let n = 0; n < Number(count); n++) {
    const layer = cache.layer(sha256(name + n));
    if (layer !== undefined) known++;
    if (layer !== undefined && (layer.diffId !== sha256("layer " + name + n) || layer.size !== n)) wrong++;
  }
  cache.rememberLayer(sha256("after"), { diffId: sha256("layer after"), size: 1 }, "after");
  const isRemembered = cache.layer(sha256("after")) !== undefined;
  cache.close();
  console.log(JSON.stringify({ known, wrong, isRemembered, problems }));`;

async function run(body: string, name: string, count: number, options: CommandOptions = {}, installed = PROJECT) {
  const args = [...program(body, installed), directory, name, String(count)];
  const { stdout } = expectOk(await runCommand(process.execPath, args, options), "a process with the cache");
  return JSON.parse(stdout.toString());
}

const lookUp = (name: string, count: number) => run(LOOK_UP, name, count);

describe("several processes with one digest cache", () => {
  it("remember everything that each of them was told", async () => {
    const names = ["a", "b", "c", "d"];
    expect(await Promise.all(names.map((name) => run(REMEMBER, name, 100)))).toEqual([[], [], [], []]);
    for (const name of names) {
      expect(await lookUp(name, 100)).toEqual({ known: 100, wrong: 0, isRemembered: true, problems: [] });
    }
  });

  it.each([
    ["damaged", "no database at all, but long enough".repeat(1000)],
    ["cut off", undefined],
  ])("make a %s file anew, and none is lost for it", async (_, text) => {
    const file = join(directory, "digests.sqlite");
    if (text === undefined) {
      await run(REMEMBER, "before", 1000);
      truncateSync(file, 9000);
    } else writeFileSync(file, text);
    const names = ["a", "b", "c", "d"];
    await Promise.all(names.map((name) => run(REMEMBER, name, 100)));
    await run(REMEMBER, "later", 100);
    expect(await lookUp("later", 100)).toEqual({ known: 100, wrong: 0, isRemembered: true, problems: [] });
    for (const name of names) expect((await lookUp(name, 100)).wrong).toBe(0);
  });

  const expectSome = async (name: string) => expect((await lookUp(name, 100)).known).toBe(100);

  it("lose nothing but their last when they are killed, and damage nothing", async () => {
    for (let round = 0; round < 12; round++) {
      const running = ["a", "b"].map((name) =>
        startCommand(process.execPath, [...program(`console.log("begun");${REMEMBER}`), directory, name, "1000000"]),
      );
      await Promise.all(running.map(({ stdout }) => once(stdout, "data")));
      // The last round is long enough for some to be remembered, however busy the machine is.
      const isLast = round === 11;
      await (isLast ? vi.waitFor(() => expectSome("a"), { timeout: 30_000, interval: 100 }) : sleep(randomInt(0, 300)));
      for (const { child } of running) child.kill("SIGKILL");
      await Promise.all(running.map(({ ended }) => ended));
      expect(await lookUp("a", 50)).toMatchObject({ wrong: 0, isRemembered: true, problems: [] });
    }
    const { known } = await lookUp("a", 2000);
    expect(cacheInfo(directory).digests).not.toHaveProperty("unusable");
    expect((await lookUp("a", known)).known).toBe(known);
  }, 90_000);
});

describe("several processes with one blob cache", () => {
  it("keep whole blobs within the budget", async () => {
    const body = `
      const cache = openBlobCache(directory, 1_000_000, { onProblem });
      for (let n = 0; n < Number(count); n++) {
        const bytes = Buffer.alloc(50_000 + 1000 * n, name + n);
        const blob = { digest: sha256(bytes), size: bytes.length };
        const sink = await cache.begin();
        await sink.write(bytes);
        await sink.commit(blob);
        const other = Buffer.alloc(50_000 + 1000 * (n - 1), "a" + (n - 1));
        cache.find({ digest: sha256(other), size: other.length });
      }
      console.log(JSON.stringify(problems));`;
    expect(await Promise.all(["a", "b", "a"].map((name) => run(body, name, 40)))).toEqual([[], [], []]);
    const blobs = join(directory, "blobs/sha256");
    const names = readdirSync(blobs);
    expect(names.filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual([]);
    expect(names.reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0)).toBeLessThanOrEqual(1_000_000);
    for (const name of names) expect(sha256(readFileSync(join(blobs, name)))).toBe(`sha256:${name}`);
  });
});

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)("a user who may only read the cache", () => {
  it.each([
    ["neither the directory nor the file", 0o555, 0o444],
    ["not the directory", 0o555, 0o666],
    ["not the file", 0o777, 0o444],
  ])("learns what is there, and remembers nothing: who may write to %s", async (_, directoryMode, fileMode) => {
    const { directory: installed } = installForEverybody();
    try {
      await run(REMEMBER, "a", 100);
      const before = cacheInfo(directory).digests;
      chmodSync(join(directory, "digests.sqlite"), fileMode);
      chmodSync(directory, directoryMode);
      const found = await run(LOOK_UP, "a", 100, { uid: 65534, gid: 65534 }, installed);
      expect(found).toMatchObject({ known: 100, wrong: 0, isRemembered: false });
      expect(found.problems).toEqual([expect.stringMatching(/digests\.sqlite is not written to: /)]);
      expect(cacheInfo(directory).digests).toEqual(before);
    } finally {
      rmSync(installed, { recursive: true, force: true });
    }
  });

  it("goes on without a cache that may not be made", async () => {
    const { directory: installed } = installForEverybody();
    try {
      const found = await run(LOOK_UP, "a", 10, { uid: 65534, gid: 65534 }, installed);
      expect(found).toMatchObject({ known: 0, isRemembered: false });
      expect(found.problems).toHaveLength(1);
      expect(readdirSync(directory)).toEqual([]);
    } finally {
      rmSync(installed, { recursive: true, force: true });
    }
  });
});

describe.skipIf(!isRoot)("a full disk", () => {
  const withFullDisk = async (use: () => Promise<void>): Promise<void> => {
    const outer = directory;
    directory = join(outer, "small");
    mkdirSync(directory);
    expectOk(await runCommand("mount", ["-t", "tmpfs", "-o", "size=300k", "tmpfs", directory]), "mount");
    try {
      await use();
    } finally {
      expectOk(await runCommand("umount", [directory]), "umount");
      directory = outer;
    }
  };

  it("ends remembering and keeping, and fails nobody", async () => {
    await withFullDisk(async () => {
      const problems = (await run(REMEMBER, "a", 5000)) as string[];
      expect(problems).toEqual([expect.stringMatching(/is not written to: .*(full|disk)/)]);
      expect(await lookUp("a", 100)).toMatchObject({ known: 100, wrong: 0 });
      const body = `
        const cache = openBlobCache(directory, 1e9, { onProblem });
        const bytes = Buffer.alloc(400_000, "x");
        const blob = { digest: sha256(bytes), size: bytes.length };
        const sink = await cache.begin();
        await sink.write(bytes);
        await sink.commit(blob);
        console.log(JSON.stringify([problems.length, cache.find(blob) ?? null]));`;
      expect(await run(body, "a", 1)).toEqual([1, null]);
      expect(readdirSync(join(directory, "blobs/sha256"))).toEqual([]);
    });
  });

  it("lets nothing of a file be imported that does not fit", async () => {
    const from = join(directory, "from");
    const cache = openDigestCache(from);
    for (let n = 0; n < 3000; n++) {
      cache.rememberLayer(sha256(`key ${n}`), { diffId: sha256(`layer ${n}`), size: n }, "title");
    }
    cache.close();
    const text = exportCache(from);
    await withFullDisk(async () => {
      expect(() => importCache(directory, text, "file")).toThrow(expect.objectContaining({ code: "output" }));
      expect(cacheInfo(directory).digests.layers).toBe(0);
    });
  });
});
