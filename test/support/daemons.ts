import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CommandOptions, type CommandResult, runCommand, runOk } from "./command.js";
import { tool } from "./tools.js";

// Everything here is private to its caller: own directories, own sockets, no network. Test files may run at the same time, and
// daemons of this machine are not touched.

const READY_MS = 30_000;
const STOP_MS = 20_000;

/** A container engine with storage of its own. */
export interface Engine {
  /** Runs the engine's command line. A failing one is a result, not an error. */
  run(args: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** As {@link run}, for commands that have to succeed; gives their standard output. */
  ok(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Ends what was started and removes the storage. Idempotent. */
  stop(): Promise<void>;
}

export interface StoringEngine extends Engine {
  /** `vfs` copies the whole file system for each layer: give it images of few layers. */
  readonly storageDriver: string;
}

export interface Podman extends StoringEngine {
  /** With it in its environment, any program's `podman` is this one. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface Containerd extends Engine {
  /** The path of the socket. */
  readonly address: string;
}

export interface Docker extends StoringEngine {
  /** For `DOCKER_HOST`. */
  readonly host: string;
}

/** A Docker daemon to which accidents happen. */
export interface MortalDocker extends Docker {
  /** The daemon alone is killed, as by the kernel when memory ends. */
  kill(): Promise<void>;
  /** Starts it again, with what it had stored. @throws Error with its log where it does not get ready */
  restart(): Promise<void>;
}

/** The options with which the containers of these engines run: nothing here may need a network or a cgroup of its own. */
export const RUN_OPTIONS = ["run", "--rm", "--network", "none"] as const;

/** Starts a containerd (as root); `run` is `ctr`. Resolves when it answers. @throws Error with its log where it does not */
export async function startContainerd(): Promise<Containerd> {
  const directory = shortTemporaryDirectory();
  const address = join(directory, "c.sock");
  const config = join(directory, "config.toml");
  writeFileSync(
    config,
    `version = 2
root = "${join(directory, "root")}"
state = "${join(directory, "state")}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${address}"
[ttrpc]
  address = "${address}.ttrpc"
`,
  );
  const daemon = startDaemon("containerd", ["--config", config], directory);
  const engine = engineOf("ctr", ["--address", address, "--namespace", "test"], {}, daemon);
  await untilReady(daemon, () => engine.run(["version"], { timeoutMs: 5000 }));
  return { ...engine, address };
}

/**
 * Starts a Docker daemon (as root) with a containerd of its own, without networks; `run` is `docker`.
 * @param options.daemonArgs more of dockerd's options
 * @throws Error with the daemon's log where it does not get ready
 */
export async function startDocker(options: { readonly daemonArgs?: readonly string[] } = {}): Promise<MortalDocker> {
  // Without this, dockerd would use a containerd that this machine may be running.
  const containerd = await startContainerd();
  const directory = shortTemporaryDirectory();
  const host = `unix://${join(directory, "d.sock")}`;
  const start = () =>
    startDaemon(
      "dockerd",
      [
        ...["--config-file", emptyConfig(directory), "--host", host, "--containerd", containerd.address],
        ...["--data-root", join(directory, "data"), "--exec-root", join(directory, "exec")],
        ...["--pidfile", join(directory, "pid"), "--bridge=none", "--iptables=false", "--ip6tables=false"],
        ...(options.daemonArgs ?? []),
      ],
      directory,
    );
  let daemon = start();
  // An own configuration keeps the user's contexts and credential helpers out.
  const engine = engineOf("docker", ["--config", directory, "--host", host], {}, daemon);
  const isReady = () => untilReady(daemon, () => engine.run(["version"], { timeoutMs: 5000 }));
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopDaemon(daemon).then(() => containerd.stop());
    return stopped;
  };
  try {
    await isReady();
    const storageDriver = (await engine.ok(["info", "--format", "{{.Driver}}"])).trim();
    return {
      ...{ ...engine, stop, host, storageDriver },
      async kill() {
        daemon.child?.kill("SIGKILL");
        await daemon.exited;
      },
      async restart() {
        daemon = start();
        await isReady();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Podman with storage of its own (no daemon); overlay where that works here, else vfs. */
export async function createPodman(): Promise<Podman> {
  return await createPodmanWith(async (podman) => podman);
}

/** Podman, and its service with Docker's API; `run` is `podman` over the same storage, without the service. */
export async function startPodmanService(): Promise<Docker> {
  return await createPodmanWith(async (podman, directory, args) => {
    const host = `unix://${join(directory, "p.sock")}`;
    const service = startDaemon(
      "podman",
      [...args, "system", "service", "--time", "0", host],
      directory,
      podman.environment,
    );
    const curl = ["--silent", "--fail", "--unix-socket", join(directory, "p.sock"), "http://podman/_ping"];
    await untilReady(service, () => runCommand(tool("curl"), curl, { timeoutMs: 5000 }));
    return { ...podman, host, stop: () => stopDaemon(service) };
  });
}

async function createPodmanWith<T>(
  use: (podman: Podman, directory: string, args: readonly string[]) => Promise<T>,
): Promise<T> {
  const directory = shortTemporaryDirectory();
  for (const storageDriver of ["overlay", "vfs"]) {
    const root = join(directory, storageDriver);
    const args = [
      ...["--root", join(root, "root"), "--runroot", join(root, "run"), "--tmpdir", join(root, "tmp")],
      ...["--storage-driver", storageDriver, "--cgroup-manager", "cgroupfs", "--events-backend", "none"],
      // crun, Podman's own choice, refuses machines that mix cgroup versions.
      ...["--runtime", tool("runc")],
    ];
    const environment = { TMPDIR: directory, ...podmanConfigs(directory, storageDriver, root) };
    const engine = engineOf("podman", args, environment, { directory });
    const probe = await engine.run(["info"], { timeoutMs: READY_MS });
    if (probe.status === 0) return await use({ ...engine, storageDriver, environment }, directory, args);
  }
  await removeWithMounts(directory);
  throw new Error("podman can use neither overlay nor vfs here");
}

/** The same places as the options say, for a Podman that is called without them. */
function podmanConfigs(directory: string, storageDriver: string, root: string): Readonly<Record<string, string>> {
  const containers = join(directory, "containers.conf");
  const storage = join(directory, "storage.conf");
  const graphRoot = join(root, "root");
  writeFileSync(
    storage,
    `[storage]\ndriver = "${storageDriver}"\ngraphroot = "${graphRoot}"\nrunroot = "${join(root, "run")}"\n`,
  );
  // Podman would raise the limits above what root may set inside a container.
  writeFileSync(
    containers,
    `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "${join(root, "tmp")}"
runtime = "${tool("runc")}"
`,
  );
  return { CONTAINERS_CONF: containers, CONTAINERS_STORAGE_CONF: storage };
}

interface Daemon {
  readonly directory: string;
  readonly name?: string;
  readonly child?: ChildProcess;
  readonly exited?: Promise<void>;
  readonly log?: string;
}

function startDaemon(
  name: string,
  args: readonly string[],
  directory: string,
  more: Readonly<Record<string, string>> = {},
): Daemon {
  const log = join(directory, "log");
  const output = openSync(log, "w");
  const env = { ...process.env, PATH: daemonPath(), TMPDIR: directory, ...more };
  // A process group of its own, so that a Ctrl-C in the terminal ends the tests first, which then end the daemons in order.
  const child = spawn(tool(name), args, { stdio: ["ignore", output, output], env, detached: true });
  closeSync(output);
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  // The last resort: tests that end without stop() leave no daemon behind.
  const killNow = () => void child.kill("SIGKILL");
  process.once("exit", killNow);
  void exited.then(() => process.off("exit", killNow));
  return { directory, name, child, exited, log };
}

function engineOf(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  daemon: Daemon,
): Engine {
  const environment = { ...process.env, PATH: daemonPath(), ...env };
  const withDefaults = (options: CommandOptions = {}) => ({ timeoutMs: 120_000, env: environment, ...options });
  let stopped: Promise<void> | undefined;
  return {
    run: (more, options) => runCommand(tool(program), [...args, ...more], withDefaults(options)),
    ok: (more, options) => runOk(tool(program), [...args, ...more], withDefaults(options)),
    stop: () => {
      stopped ??= stopDaemon(daemon);
      return stopped;
    },
  };
}

async function untilReady(daemon: Daemon, probe: () => Promise<CommandResult>): Promise<void> {
  const deadline = Date.now() + READY_MS;
  let last = "";
  while (Date.now() < deadline && daemon.child?.exitCode === null && daemon.child.signalCode === null) {
    const { status, stderr } = await probe();
    if (status === 0) return;
    last = stderr;
    await sleep(100);
  }
  const log = daemon.log === undefined ? "" : readFileSync(daemon.log, "utf8").split("\n").slice(-20).join("\n");
  await stopDaemon(daemon);
  throw new Error(`${daemon.name} did not get ready: ${last.trim()}\n${log}`);
}

async function stopDaemon(daemon: Daemon): Promise<void> {
  const { child, exited } = daemon;
  if (child !== undefined && exited !== undefined) {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(timer);
  }
  await removeWithMounts(daemon.directory);
}

/** Removes a directory and, first, what is mounted below it. */
async function removeWithMounts(directory: string): Promise<void> {
  // Podman cleans up after a container in the background, which may mount its storage again.
  for (let attempt = 1; ; attempt++) {
    const mounts = readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[1] ?? "")
      .filter((path) => path.startsWith(`${directory}/`));
    for (const path of mounts.reverse()) spawnSync("umount", ["--lazy", path]);
    try {
      rmSync(directory, { recursive: true, force: true });
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await sleep(200);
    }
  }
}

/** Sockets may have paths of at most 107 bytes. */
function shortTemporaryDirectory(): string {
  const base = tmpdir().length > 40 && existsSync("/tmp") ? "/tmp" : tmpdir();
  return mkdtempSync(join(base, "ocinix-"));
}

function emptyConfig(directory: string): string {
  const file = join(directory, "daemon.json");
  writeFileSync(file, "{}");
  return file;
}

/** Daemons look for runc, containerd and iptables themselves. */
function daemonPath(): string {
  return `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
}

/** The names of the tools that {@link startDocker}, {@link startContainerd}, {@link createPodman} and {@link startPodmanService} need. */
export const ENGINE_TOOLS = {
  docker: ["dockerd", "docker", "containerd", "ctr", "runc", "root"],
  containerd: ["containerd", "ctr", "root"],
  podman: ["podman", "runc", "conmon", "root"],
  podmanService: ["podman", "runc", "conmon", "curl", "root"],
} as const;
