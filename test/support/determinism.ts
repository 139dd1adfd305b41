import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { PROJECT } from "./cli.js";
import { runCommand, runOk } from "./command.js";
import { findTool } from "./tools.js";

/** What is around a build, and must not show in it. */
export interface Surroundings {
  readonly name: string;
  /** Why it cannot be had here. */
  readonly missing?: string | undefined;
  /** Process wrapped around Node.js. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: number;
  readonly node?: string;
  /** Where the store is, instead of where it was made. */
  readonly storeRoot?: string;
  /** Flags besides those of all builds; `--no-cache` by default. */
  readonly flags?: readonly string[];
  /** How often an image is built; the last one counts. */
  readonly times?: number;
  /** Starts what goes on meanwhile; gives what ends it. */
  start?(): () => void;
}

/** What a build left. */
export interface Built {
  /** All files of the layout with their contents' names: equal only where every byte is. */
  readonly files: string;
  readonly imageId: string;
  /** What packed the layers, as the manifest says. */
  readonly codecs: string;
}

/** The image in a layout that holds one. */
export function builtIn(layout: string): Built {
  const blob = (digest: string) =>
    readFileSync(join(layout, "blobs", "sha256", digest.slice("sha256:".length)), "utf8");
  const index = readFileSync(join(layout, "index.json"), "utf8");
  const manifest = JSON.parse(blob(JSON.parse(index).manifests[0].digest)) as {
    readonly config: { readonly digest: string };
    readonly layers: readonly { readonly annotations?: Readonly<Record<string, string>> }[];
  };
  const codecs = manifest.layers.map(({ annotations }) => annotations?.["dev.oci-nix.compression"] ?? "none");
  const names = readdirSync(join(layout, "blobs", "sha256")).sort();
  return { files: [index, ...names].join("\n"), imageId: manifest.config.digest, codecs: [...new Set(codecs)].join() };
}

/** Everything a build may run in. @param full also what takes minutes */
export async function allSurroundings(
  {
    storeRoot,
    paths,
    directory,
  }: { readonly storeRoot: string; readonly paths: readonly string[]; readonly directory: string },
  full: boolean,
): Promise<readonly Surroundings[]> {
  const few: readonly Surroundings[] = [
    { name: "one processor", missing: without("taskset"), wrapper: ["taskset", "-c", "0"] },
    {
      name: "under load, a busy process for each processor",
      start() {
        const busy = Array.from({ length: availableParallelism() }, () =>
          spawn("nice", ["-n", "5", process.execPath, "-e", "for (;;);"], { stdio: "ignore" }),
        );
        return () => {
          for (const child of busy) child.kill("SIGKILL");
        };
      },
    },
    {
      name: "another time zone, locale, umask, home and terminal",
      wrapper: ["sh", "-c", 'umask 077; exec "$@"', "sh"],
      env: {
        ...{ TZ: "Asia/Kathmandu", LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8", HOME: "/nonexistent", COLUMNS: "20" },
        ...{ SOURCE_DATE_EPOCH: "86400", USER: "somebody", HOSTNAME: "elsewhere", NODE_ENV: "production" },
      },
    },
    { name: "another user", missing: withoutRoot(), user: 65_534 },
  ];
  if (!full) return few;
  return [
    ...few,
    ...Array.from({ length: availableParallelism() - 1 }, (_, i) => ({
      name: `one processor, number ${i + 1}`,
      ...{ missing: without("taskset"), wrapper: ["taskset", "-c", String(i + 1)] },
    })),
    ...["1", "16"].map((threads) => ({
      name: `${threads === "1" ? "1 thread" : `${threads} threads`} in libuv's pool`,
      env: { UV_THREADPOOL_SIZE: threads },
    })),
    {
      name: "the second time, by the digest cache and the blob cache",
      ...{ flags: ["--cache-dir", join(directory, "cache"), "--blob-cache", "1GB"], times: 2 },
    },
    ...(await fileSystems(storeRoot, paths, directory)),
    ...(await otherNodes(dirname(dirname(storeRoot)))),
  ];
}

function without(...tools: readonly string[]): string | undefined {
  const absent = tools.filter((name) => findTool(name) === undefined);
  return absent.length === 0 ? undefined : `${absent.join(", ")} is not there`;
}

function withoutRoot(): string | undefined {
  return process.getuid?.() === 0 ? undefined : "not root";
}

/** The store on other file systems, each mounted where only the build sees it. */
async function fileSystems(
  storeRoot: string,
  paths: readonly string[],
  directory: string,
): Promise<readonly Surroundings[]> {
  const missing = withoutRoot() ?? without("unshare", "mount", "mke2fs");
  const [mounted, copy, empty, image] = ["mounted", "copy", "empty", "ext4.img"].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  if (missing === undefined) {
    for (const path of [mounted, empty]) mkdirSync(path);
    for (const path of paths) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      cpSync(join(storeRoot, path), join(copy, path), {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
      });
    }
    await runOk("mke2fs", ["-q", "-F", "-t", "ext4", "-d", copy, image, "512M"]);
  }
  const within = (script: string) => ["unshare", "-m", "sh", "-ec", `${script}; exec "$@"`, "sh"];
  const on = (name: string, script: string): Surroundings => ({
    ...{ name: `the store on ${name}`, missing, wrapper: within(script), storeRoot: mounted },
  });
  return [
    on("tmpfs", `mount -t tmpfs tmpfs ${mounted}; cp -a ${copy}/. ${mounted}`),
    on("ext4, read-only", `mount -o loop,ro ${image} ${mounted}`),
    on("overlayfs", `mount -t overlay overlay -o lowerdir=${copy}:${empty} ${mounted}`),
  ];
}

/** Versions that npm's registry has for this machine. */
const VERSIONS = ["20.19.0", "22", "24", "25"];

/** Other versions of Node.js: those of OCI_NIX_NODES, separated by colons, or else from npm's registry. */
async function otherNodes(cache: string): Promise<readonly Surroundings[]> {
  const given = process.env.OCI_NIX_NODES?.split(":") ?? [];
  const nodes = given.length > 0 ? given : await Promise.all(VERSIONS.map((version) => installNode(cache, version)));
  const found: Surroundings[] = [];
  for (const [i, node] of nodes.entries()) {
    const name = `Node.js ${VERSIONS[i] ?? ""}`;
    if (node === undefined) {
      found.push({ name, missing: "npm does not install it here" });
      continue;
    }
    const version = await runOk(node, ["-p", "process.versions.node + ', zlib ' + process.versions.zlib"]);
    found.push({ name: `Node.js ${version.trim()}`, node });
  }
  return found;
}

async function installNode(cache: string, version: string): Promise<string | undefined> {
  const name = `node-linux-${process.arch}`;
  const directory = join(cache, "nodes", version);
  const node = join(directory, "node_modules", name, "bin", "node");
  if (existsSync(node)) return node;
  mkdirSync(directory, { recursive: true });
  const args = ["install", "--prefix", directory, "--no-audit", "--no-fund", "--ignore-scripts", `${name}@${version}`];
  await runCommand("npm", args, { timeoutMs: 300_000 });
  return existsSync(node) ? node : undefined;
}

/** The program and its arguments, in these surroundings. */
export function commandIn(
  { wrapper = [], node = process.execPath }: Surroundings,
  program = PROJECT,
): readonly string[] {
  return [...wrapper, node, join(program, "bin", "oci-nix.js")];
}
