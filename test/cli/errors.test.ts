import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hashCli, installForEverybody, PROJECT, runCli, startCli } from "../support/cli.js";
import { type CommandResult, runCommand } from "../support/command.js";
import { conf, makeCustomisation, packImage, packTar } from "../support/confs.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";

let directory: string;
let store: SampleStore;
let paths: readonly string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-errors-"));
  chmodSync(directory, 0o755);
  store = copySampleStore(directory);
  paths = (JSON.parse(readFileSync(store.closureFile, "utf8")) as { path: string }[]).map(({ path }) => path);
  return () => rmSync(directory, { recursive: true, force: true });
});

const stream = (...more: string[]) => ["stream", store.closureFile, "--store-root", store.storeRoot, ...more];

function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Where in the kernel a thread waits: in `wait_for_partner`, where it opens a FIFO. */
function wchan(thread: string): string {
  return readFileSync(join(thread, "wchan"), "utf8");
}

/** One line and its hint at most, the exit code of the design, and never a stack trace. */
function expectError(result: CommandResult, status: number, message: RegExp | string): void {
  expect(result.stderr).toMatch(message);
  expect(result.stderr).toMatch(/^error: [^\n]+\n(?: {2}hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
  expect(result.status).toBe(status);
}

describe("a store that is not as the closure says", () => {
  it("names the missing store paths before the first byte", async () => {
    const [missing] = paths as [string];
    rmSync(join(store.storeRoot, missing), { recursive: true, force: true });
    const result = await runCli(stream());
    expectError(result, 1, missing);
    expect(result.stderr).toContain("--realise");
    expect(result.stdout).toHaveLength(0);
  });

  it.skipIf(process.getuid?.() !== 0)("names the file that cannot be read", async () => {
    const { directory: installed, program } = installForEverybody();
    try {
      chmodSync(store.storeRoot, 0o755);
      const closed = join(store.storeRoot, paths[0] as string);
      chmodSync(closed, 0);
      const result = await runCli(stream(), { uid: 65534, gid: 65534, program });
      expectError(result, 1, /permission denied \(EACCES\)/);
      expect(result.stderr).toContain(closed);
    } finally {
      rmSync(installed, { recursive: true, force: true });
    }
  });

  it.each(["FIFO", "socket"])("refuses a %s", async (kind) => {
    const path = join(directory, "closure-with-special.json");
    const storePath = "/nix/store/00000000000000000000000000000000-special";
    writeFileSync(path, JSON.stringify([{ path: storePath, references: [] }]));
    mkdirSync(join(store.storeRoot, storePath));
    const special = join(store.storeRoot, storePath, "special");
    if (kind === "FIFO") execFileSync("mkfifo", [special]);
    const server = kind === "socket" ? createServer().listen(special) : undefined;
    try {
      if (server !== undefined) await new Promise((resolve) => server.once("listening", resolve));
      expectError(
        await runCli(["stream", path, "--store-root", store.storeRoot]),
        1,
        `special is a ${kind}: a store object holds`,
      );
    } finally {
      server?.close();
    }
  });

  it.each([
    ["shrinks", 1024 * 1024, /ended after/],
    ["grows", 64 * 1024 * 1024, /is longer than/],
  ])("fails where a file %s while it is read", async (_, size, message) => {
    const storePath = "/nix/store/00000000000000000000000000000000-big";
    const big = join(store.storeRoot, storePath);
    writeFileSync(big, "");
    truncateSync(big, 32 * 1024 * 1024);
    const closure = file("big.json", JSON.stringify([{ path: storePath, references: [] }]));
    const running = startCli(["stream", closure, "--store-root", store.storeRoot]);
    // The header is out, so the size is promised; the pipe is full long before the file's end.
    await new Promise((resolve) => running.stdout.once("readable", resolve));
    truncateSync(big, size);
    running.stdout.resume();
    expectError(await running.ended, 1, message);
  });
});

describe("a closure that is wrong", () => {
  it("says which path lacks which reference", async () => {
    const a = "/nix/store/00000000000000000000000000000000-a";
    const b = "/nix/store/11111111111111111111111111111111-b";
    const closure = file("open.json", JSON.stringify([{ path: a, references: [b] }]));
    expectError(await runCli(["stream", closure]), 1, `${a} refers to ${b}, which is not in it`);
  });

  it.each([
    ["a number", "1"],
    ["an open object", '{"a":'],
    ["nothing", ""],
    ["NaN", '{"closure": NaN}'],
    ["100,000 arrays", "[".repeat(100_000) + "]".repeat(100_000)],
    ["100,000 objects", '{"a":'.repeat(100_000)],
    ["a string of 5 million escapes", `{"closure":{},"name":"${"\\n".repeat(5_000_000)}"}`],
    ["bytes that are no UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["a database of noise", Buffer.alloc(5000, 0x9c)],
  ])("does not take %s", async (_, content) => {
    expectError(await runCli(["stream", file("input.json", content)]), 1, "input.json");
  });

  it("refuses a database that is none", async () => {
    const db = join(directory, "root/nix/var/nix/db");
    mkdirSync(db, { recursive: true });
    writeFileSync(join(db, "db.sqlite"), Buffer.alloc(5000, 0x9c));
    expectError(
      await runCli(["closure", paths[0] as string, "--store-root", join(directory, "root")]),
      1,
      "not an intact SQLite database",
    );
  });
});

describe("inputs that are none", () => {
  it.each([
    ["no-such-file", /"no-such-file" is not a store path, and there is no such file/],
    ["", /"" is not a store path/],
    ["/", /"\/" is not a store path/],
    ["/dev/null", /"\/dev\/null" is not a store path/],
    ["a".repeat(5000), /ENAMETOOLONG/],
    ["line\nbreak\u001b[31m", /"line\\nbreak\\u001b\[31m"/],
  ])("refuses %j", async (input, message) => {
    expectError(await runCli(["stream", input]), 1, message);
  });

  it("reads a closure graph from standard input for -", async () => {
    const graph = readFileSync(store.closureFile);
    const piped = await runCli(["closure", "-"], { stdin: graph });
    const read = await runCli(["closure", store.closureFile]);
    expect(piped.status).toBe(0);
    expect(piped.stdout.equals(read.stdout)).toBe(true);
  });

  it("takes the paths in a spec file as relative to it", async () => {
    const spec = join(directory, "spec.json");
    writeFileSync(join(directory, "graph.json"), readFileSync(store.closureFile));
    writeFileSync(spec, JSON.stringify({ closure: { graph: "graph.json" } }));
    const result = await runCli(["plan", spec, "--json"], { cwd: "/" });
    expect(result.status).toBe(0);
  });

  it("refuses --quiet together with --verbose", async () => {
    expectError(await runCli(["plan", store.closureFile, "--quiet", "--verbose"]), 2, /contradict each other/);
  });

  it("fails where standard output is closed, instead of writing to nowhere", async () => {
    const program = join(PROJECT, "bin", "oci-nix.js");
    const closed = await runCommand("sh", ["-c", '"$@" >&-', "sh", process.execPath, program, ...stream()]);
    expect(closed.status).toBe(1);
    expect(closed.stderr).toContain("standard output is closed");
    const discarded = await runCommand("sh", ["-c", '"$@" >/dev/null', "sh", process.execPath, program, ...stream()]);
    expect(discarded.status).toBe(0);
  });

  it("refuses a FIFO at once, though nobody writes to it", async () => {
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    const result = await runCli(["stream", fifo], { timeoutMs: 10_000 });
    expectError(result, 1, /is not a store path/);
    expect(result.stderr).toContain("a pipe cannot be the input");
  });

  it("refuses a loop of symlinks as input and as store root", async () => {
    const loop = join(directory, "loop");
    symlinkSync("loop", loop);
    expectError(await runCli(["stream", loop]), 1, /ELOOP/);
    expectError(await runCli(["stream", store.closureFile, "--store-root", loop]), 1, /ELOOP/);
  });

  it("refuses a store root that is a file or not there", async () => {
    expectError(await runCli(["stream", store.closureFile, "--store-root", store.closureFile]), 1, /ENOTDIR/);
    expectError(
      await runCli(["stream", store.closureFile, "--store-root", join(directory, "none")]),
      1,
      /store paths are missing under/,
    );
  });
});

describe("the command line", () => {
  it.each([
    [["--nmae", "x"], /unknown flag --nmae\n {2}hint: did you mean --name\?/],
    [["--constructor", "x"], /unknown flag --constructor/],
    [["--toString=x"], /unknown flag --toString/],
    [["--__proto__", "x"], /unknown flag/],
    [["--cmd", "["], /--cmd \[ is not a JSON array/],
    [["--cmd", '["a",1]'], /is not a JSON array of strings/],
    [["--expose", "99999"], /--expose "99999"/],
    [["--uid", "-1"], /--uid takes a whole number, not "-1"/],
    [["--deadline", "9".repeat(20)], /--deadline: 9{20} is too large/],
    [["--uid", "NaN"], /--uid takes a whole number/],
    [["--uid", "1", "--uid", "2"], /--uid is given more than once/],
    [["--label", "x"], /KEY=VALUE/],
    [["--max-layers", "0"], /at least 1, not 0/],
    [["--strategy", "populrity"], /did you mean popularity\?/],
    [["--tar-profile", "oc"], /did you mean oci\?/],
    [["--progress", "bogus"], /auto, plain, none,/],
    [["--tag", "x"], /needs a name/],
    [["--env", "FOO"], /"FOO" is not NAME=VALUE/],
    [["--name", "App"], /image names are lower case: app/],
  ])("refuses %j with exit code 2", async (flags, message) => {
    expectError(await runCli(stream(...flags)), 2, message);
  });

  it.each([
    [["--max-layers", "126"], /126 layers cannot be run/],
    [["--exclude", "x"], /"x" is not a store path/],
  ])("refuses %j", async (flags, message) => {
    expectError(await runCli(stream(...flags)), 1, message);
  });

  it("names the nearest command", async () => {
    expectError(await runCli(["strem"]), 2, /unknown command strem\n {2}hint: did you mean stream\?/);
    expectError(await runCli(["--json"].slice(1)), 2, /no command given/);
  });

  it("takes what follows -- as inputs", async () => {
    const result = await runCli(["plan", "--json", "--", store.closureFile]);
    expect(result.stderr).toBe("");
    expect(result.status).toBe(0);
    expectError(await runCli(stream("--", "more")), 1, /must be the only input/);
  });

  it("says it where it may not open as many files as it needs to begin with", async () => {
    const wrapper = ["sh", "-c", 'ulimit -n 21; exec "$@"', "sh"];
    const { status, stderr } = await runCli(["plan", "x.json"], { wrapper });
    expect(stderr).toBe("error: too many files are open (EMFILE)\n  hint: ulimit -n 1024 allows more\n");
    expect(status).toBe(1);
  });

  it("says the same whatever the language", async () => {
    const env = { LANG: "de_DE.UTF-8", LC_ALL: "de_DE.UTF-8", LANGUAGE: "de" };
    expect((await runCli(["stream", "--cmd"], { env })).stderr).toBe((await runCli(["stream", "--cmd"])).stderr);
  });

  it("prints help for help, on standard output", async () => {
    const result = await runCli(["help"]);
    expect(result.status).toBe(0);
    expect(result.stdout.toString()).toContain("  stream ");
  });

  it("lets a flag replace no wrong value of a spec file in silence", async () => {
    const spec = (config: unknown) =>
      file("spec.json", JSON.stringify({ closure: { graph: store.closureFile }, config }));
    const run = (...flags: string[]) =>
      runCli(["stream", join(directory, "spec.json"), "--store-root", store.storeRoot, ...flags]);
    spec(5);
    expectError(await run("--user", "x"), 1, /config must be an object/);
    spec({ Env: "x" });
    expectError(await run("--env", "A=b"), 1, /config.Env must be an array of strings/);
    spec({ Labels: [] });
    expectError(await run("--label", "A=b"), 1, /config.Labels must be an object/);
  });

  it.each([
    [["--json", "bogus"], 2, "usage"],
    [["stream", "--json", "--nmae"], 2, "usage"],
    [["stream", "--json", "no-such-file"], 1, "not-found"],
    [["stream", "--verbose", "--json", "/"], 1, "invalid-input"],
  ])("prints the error of %j as one JSON object", async (args, status, code) => {
    const result = await runCli(args);
    expect(JSON.parse(result.stderr)).toMatchObject({ code, message: expect.any(String), hint: expect.any(String) });
    expect(result.stderr.trimEnd()).not.toContain("\n");
    expect(result.status).toBe(status);
  });
});

describe("the output", () => {
  it("is refused to a terminal", async () => {
    const wrapper = [
      "python3",
      "-c",
      "import pty,sys,os; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
    ];
    for (const [args, hint] of [
      [stream(), "oci-nix stream … | docker load"],
      [["export", "oci:layout"], "oci-nix export SOURCE | docker import -"],
    ] as const) {
      const result = await runCli(args, { wrapper, env: { NO_COLOR: "1" } });
      const [message, tip] = result.stdout.toString().split("\r\n");
      expect(message).toMatch(/^error: standard output is a terminal: /);
      expect(tip).toContain(`hint: ${hint}`);
      expect(result.status).toBe(2);
    }
  });

  it("fails with one line where the reader goes away", async () => {
    const storePath = "/nix/store/00000000000000000000000000000000-big";
    writeFileSync(join(store.storeRoot, storePath), "");
    truncateSync(join(store.storeRoot, storePath), 32 * 1024 * 1024);
    const running = startCli([
      "stream",
      file("big.json", JSON.stringify([{ path: storePath, references: [] }])),
      "--store-root",
      store.storeRoot,
    ]);
    await new Promise((resolve) => running.stdout.once("readable", resolve));
    running.stdout.destroy();
    expectError(await running.ended, 1, /^error: standard output: the reader went away/);
  });

  it.skipIf(!existsSync("/dev/full"))("fails with one line where the disk is full", async () => {
    const wrapper = ["sh", "-c", 'exec "$@" > /dev/full', "sh"];
    expectError(await runCli(stream(), { wrapper }), 1, /no space left on device \(ENOSPC\)/);
    for (const args of [["--help"], ["--version"], ["build", "--help"], ["schema"]]) {
      expectError(await runCli(args, { wrapper }), 1, "no space left on device");
    }
  });

  it("does not wait for FIFOs that are databases or certificates", async () => {
    const directories = ["nix/var/nix/db", "cache"].map((name) => join(directory, name));
    for (const each of directories) mkdirSync(each, { recursive: true });
    const [db, cache] = directories as [string, string];
    execFileSync("mkfifo", [join(db, "db.sqlite"), join(cache, "digests.sqlite-journal"), join(directory, "ca")]);
    const root = paths[0] as string;
    expectError(await runCli(["closure", root, "--store-root", directory]), 1, "db.sqlite: it is no regular file");
    const env = { SSL_CERT_FILE: join(directory, "ca") };
    expectError(await runCli(["inspect", "docker://localhost:1/app"], { env }), 1, "ca: it is no regular file");
    const result = await runCli(stream("--cache-dir", cache));
    expect(result.stderr).toContain("digests.sqlite-journal: it is no regular file");
    expect(result.status).toBe(0);
  });
});

describe("an interrupt", () => {
  let temporary: string;
  beforeEach(() => {
    temporary = join(directory, "tmp");
    mkdirSync(temporary);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("by %s ends a stalled stream and leaves nothing behind", async (signal) => {
    await makeCustomisation(store.storeRoot);
    const layer = await packTar([["noise", Buffer.alloc(8 * 1024 * 1024, 1)]]);
    const base = file("base.tar.gz", gzipSync(await packImage([{ name: "a.tar", tar: layer }])));
    const input = file("conf.json", JSON.stringify(conf({ from_image: base, store_layers: [paths] })));
    const running = startCli(["stream", input, "--store-root", store.storeRoot], { env: { TMPDIR: temporary } });
    await new Promise((resolve) => running.stdout.once("readable", resolve));
    expect(readdirSync(temporary)).toEqual([]);
    running.child.kill(signal);
    expectError(await running.ended, signal === "SIGINT" ? 130 : 143, `interrupted by ${signal}`);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("ends a wait for a FIFO that nobody writes to", async () => {
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    execFileSync("mkfifo", [join(directory, "written")]);
    const root = paths[0] as string;
    const waiting = [
      ["closure", "--closure", fifo, root],
      stream("--perms", fifo),
      stream("--layering-pipeline", fifo),
      ["stream", "--dockertools-args", fifo],
      ["disk", fifo, "--to", join(directory, "disk.img")],
      ["cache", "import", fifo, "--cache-dir", join(directory, "cache")],
      ["plan", store.closureFile, "--store-root", store.storeRoot, "--html", join(directory, "written")],
      ["cache", "export", join(directory, "written"), "--cache-dir", join(directory, "cache")],
      ["n2c", "layers-from-reproducible-storepaths", join(directory, "layers.json"), fifo],
    ].map((args) => startCli(args));
    for (const { stdout } of waiting) stdout.resume();
    const waits = (pid: number) =>
      readdirSync(`/proc/${pid}/task`).some((task) => wchan(`/proc/${pid}/task/${task}`) === "wait_for_partner");
    await expect.poll(() => waiting.every(({ child }) => waits(child.pid as number)), { timeout: 50_000 }).toBe(true);
    for (const { child } of waiting) child.kill("SIGINT");
    for (const { ended } of waiting) {
      const result = await ended;
      expect(result.stderr).toBe("error: interrupted by SIGINT\n");
      // By the signal itself: a shell calls that 130.
      expect(result.signal).toBe("SIGINT");
    }
    expect(readdirSync(directory)).not.toContain("disk.img");
  });

  it("reads what a process writes into a FIFO", async () => {
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    const running = startCli(stream("--perms", fifo));
    running.stdout.resume();
    const [result] = await Promise.all([running.ended, writeFile(fifo, '[{"path": "/none", "mode": 7}]')]);
    expectError(result, 2, /fifo|perms/);
  });
});

describe("the bytes", () => {
  const shapes = [0, 1];
  let digests: string[];
  beforeAll(async () => {
    const names = Array.from({ length: 40 }, (_, i) => `f${(i * 7919) % 101}`);
    digests = [];
    for (const shape of shapes) {
      const root = mkdtempSync(join(existsSync("/dev/shm") && shape === 1 ? "/dev/shm" : tmpdir(), "oci-nix-order-"));
      try {
        const storePath = "/nix/store/00000000000000000000000000000000-many";
        mkdirSync(join(root, storePath), { recursive: true });
        for (const name of shape === 0 ? names : [...names].reverse())
          writeFileSync(join(root, storePath, name), name, { mode: 0o444 });
        const closure = join(root, "closure.json");
        writeFileSync(closure, JSON.stringify([{ path: storePath, references: [] }]));
        digests.push((await hashCli(["stream", closure, "--store-root", root])).sha256);
      } finally {
        rmSync(root, { recursive: true, force: true });
      }
    }
  });

  it("do not depend on the order in which files were made, nor on the file system", () => {
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(digests).size).toBe(1);
  });
});
