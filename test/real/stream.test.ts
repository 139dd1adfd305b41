import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CliOptions,
  hashCli,
  installForEverybody,
  isReachableByEverybody,
  PROJECT,
  runCli,
  startCli,
} from "../support/cli.js";
import { expectOk, runCommand, runOk } from "../support/command.js";
import {
  createPodman,
  ENGINE_TOOLS,
  RUN_OPTIONS,
  type StoringEngine,
  startContainerd,
  startDocker,
} from "../support/daemons.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 180_000;
/** How long a process may take to end once nobody wants its output. */
const PROMPT_MS = 5000;
const GREETING = "hello from a store of real packages";

let store: RealStore;
let directory: string;
let archive: string;

describe.skipIf(requireTools(...REAL_STORE_TOOLS))("oci-nix stream of a real store", () => {
  beforeAll(async () => {
    store = await realStore("small");
    directory = mkdtempSync(join(tmpdir(), "stream-"));
    archive = join(directory, "image.tar");
    expectOk(await runCli(streamArgs(), { stdoutFile: archive, timeoutMs: LIMIT_MS }), "oci-nix stream");
  }, 10 * 60_000);

  afterAll(() => {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it("holds the whole closure of all roots", () => {
    // A tar archive takes more room than a NAR of the same files.
    expect(statSync(archive).size).toBeGreaterThan(store.narSize);
  });

  it.skipIf(requireTools(...ENGINE_TOOLS.docker))(
    "pipes into docker load, and Docker runs static and dynamic programs",
    async () => {
      const docker = await startDocker();
      try {
        await pipeInto(docker);
        await runsPrograms(docker);
      } finally {
        await docker.stop();
      }
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))(
    "pipes into podman load, and Podman runs static and dynamic programs",
    async () => {
      const podman = await createPodman();
      try {
        await pipeInto(podman);
        await runsPrograms(podman);
      } finally {
        await podman.stop();
      }
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools(...ENGINE_TOOLS.containerd))(
    "is imported by containerd",
    async () => {
      const containerd = await startContainerd();
      try {
        await containerd.ok(["image", "import", archive]);
        expect(await containerd.ok(["image", "ls", "-q"])).toMatch(/(^|\/)t:1\n/);
      } finally {
        await containerd.stop();
      }
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools("skopeo", "tar"))(
    "is copied by skopeo, which computes the same diffIDs as the archive's config states",
    async () => {
      const layout = join(directory, "layout");
      const skopeo = tool("skopeo");
      await runOk(skopeo, ["copy", "--insecure-policy", `docker-archive:${archive}`, `oci:${layout}:1`], {
        timeoutMs: LIMIT_MS,
      });
      const copied = JSON.parse(await runOk(skopeo, ["inspect", "--config", `oci:${layout}:1`])) as Config;
      const [manifest] = JSON.parse(await memberOf(archive, "manifest.json")) as [{ readonly Config: string }];
      const own = JSON.parse(await memberOf(archive, manifest.Config)) as Config;
      expect(own.rootfs.diff_ids.length).toBeGreaterThan(1);
      expect(copied.rootfs.diff_ids).toEqual(own.rootfs.diff_ids);
      expect(copied.config.Cmd).toEqual([store.busybox, "echo", GREETING]);
    },
    LIMIT_MS,
  );

  it(
    "is the same in any time zone, language, umask and directory",
    async () => {
      const first = await hashOk({ cwd: PROJECT, env: { TZ: "UTC", LANG: "C", LC_ALL: "C" } });
      const second = await hashOk({
        cwd: "/",
        env: { TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" },
        wrapper: ["sh", "-c", 'umask 077; exec "$@"', "sh"],
      });
      expect(second).toBe(first);
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools("root"))(
    "is the same for another user, who may only read the store",
    async () => {
      expect(isReachableByEverybody(store.storeRoot), "the cache directory of the tests must be readable for all").toBe(
        true,
      );
      const installed = installForEverybody();
      try {
        const nobody = { uid: 65534, gid: 65534, cwd: "/", env: { HOME: "/nonexistent", XDG_CACHE_HOME: undefined } };
        expect(await hashOk({ program: installed.program, ...nobody })).toBe(await hashOk({}));
      } finally {
        rmSync(installed.directory, { recursive: true, force: true });
      }
    },
    LIMIT_MS,
  );

  it(
    "ends promptly on SIGINT while its reader does not read",
    async () => {
      // A real pipe, as a shell makes it: node's own "pipe" is a socket.
      const fifo = join(directory, "fifo");
      execFileSync("mkfifo", [fifo]);
      const pipe = openSync(fifo, "r+");
      const program = join(PROJECT, "bin", "oci-nix.js");
      const child = spawn(process.execPath, [program, ...streamArgs()], { stdio: ["ignore", pipe, "ignore"] });
      try {
        await untilBlocked(child);
        const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
        const interrupted = Date.now();
        child.kill("SIGINT");
        const [status, signal] = await Promise.race([
          ended,
          sleep(2 * PROMPT_MS).then(() => ["still running", null] as const),
        ]);
        expect(signal ?? status).toBeOneOf([130, "SIGINT"]);
        expect(Date.now() - interrupted).toBeLessThan(PROMPT_MS);
      } finally {
        child.kill("SIGKILL");
        closeSync(pipe);
      }
    },
    LIMIT_MS,
  );

  it(
    "fails with one line on standard error when its reader goes away",
    async () => {
      const pipeline = '"$@" | head -c 100000 > /dev/null; exit "$PIPESTATUS"';
      const program = join(PROJECT, "bin", "oci-nix.js");
      const { status, stderr } = await runCommand(
        "bash",
        ["-c", pipeline, "bash", process.execPath, program, ...streamArgs()],
        { env: { ...process.env, NODE_OPTIONS: undefined }, timeoutMs: LIMIT_MS },
      );
      expect(status).toBeGreaterThan(0);
      expect(stderr).toMatch(/^[^\n]+\n$/);
    },
    LIMIT_MS,
  );
});

interface Config {
  readonly config: { readonly Cmd: readonly string[] };
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

function streamArgs(...more: readonly string[]): readonly string[] {
  return [
    ...["stream", ...store.roots, "--store-root", store.storeRoot, "--name", "t", "--tag", "1", "--progress=none"],
    ...["--cmd", store.busybox, "--cmd", "echo", "--cmd", GREETING],
    ...more,
  ];
}

async function hashOk(options: CliOptions): Promise<string> {
  const result = await hashCli(streamArgs(), { timeoutMs: LIMIT_MS, ...options });
  expectOk(result, "oci-nix stream");
  return result.sha256;
}

async function pipeInto(engine: StoringEngine): Promise<void> {
  // A driver that copies everything for each layer would need tens of gigabytes.
  const layers = engine.storageDriver === "vfs" ? ["--max-layers", "3"] : [];
  const running = startCli(streamArgs(...layers), { timeoutMs: LIMIT_MS });
  const [loaded, streamed] = await Promise.all([
    engine.run(["load"], { stdin: running.stdout, timeoutMs: LIMIT_MS }),
    running.ended,
  ]);
  expectOk(streamed, "oci-nix stream");
  expectOk(loaded, "load");
}

async function runsPrograms(engine: StoringEngine): Promise<void> {
  expect(await engine.ok([...RUN_OPTIONS, "t:1"])).toBe(`${GREETING}\n`);
  const dynamic = [...store.dynamicBash, "-c", "echo $((6 * 7))"];
  expect(await engine.ok([...RUN_OPTIONS, "t:1", ...dynamic])).toBe("42\n");
}

async function memberOf(archiveFile: string, member: string): Promise<string> {
  return await runOk("tar", ["-xOf", archiveFile, member]);
}

/**
 * Waits until a process has written what a pipe holds and no longer moves: it uses little processor time for a while.
 * @throws Error where it ends, or is busy for 20 seconds
 */
async function untilBlocked(child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 20_000;
  let last = 0;
  for (let quiet = 0; quiet < 5; ) {
    await sleep(100);
    if (Date.now() > deadline) throw new Error("it is still busy, although nobody reads what it writes");
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} instead of waiting for its reader`);
    // User and system time in hundredths of a second. Busy means most of a tenth of a second.
    const [user, system] = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(" ").slice(13, 15);
    const now = Number(user) + Number(system);
    quiet = now > 0 && now - last <= 5 ? quiet + 1 : 0;
    last = now;
  }
}
