import { existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compareStrings, describeErrno, OciNixError } from "../core/errors.js";
import { findOnPath, notOnPath } from "../core/process.js";
import { type OnOutput, runInEnvironment } from "../core/run-tool.js";
import { makeTemporaryDirectory, type TemporaryDirectory } from "../core/temporary.js";

/** A program that is not ours: who has it, and how it says its version. */
interface DiskTool {
  readonly debianPackage: string;
  readonly nixPackage: string;
  readonly version: readonly string[];
}

const tool = (debianPackage: string, nixPackage: string, ...version: readonly string[]): DiskTool => ({
  debianPackage,
  nixPackage,
  version: version.length > 0 ? version : ["--version"],
});

/** All external programs that make, change or check disk images. */
const TOOLS = {
  sfdisk: tool("fdisk", "util-linux"),
  mke2fs: tool("e2fsprogs", "e2fsprogs", "-V"),
  e2fsck: tool("e2fsprogs", "e2fsprogs", "-V"),
  "mkfs.vfat": tool("dosfstools", "dosfstools", "--help"),
  "fsck.vfat": tool("dosfstools", "dosfstools", "--help"),
  mmd: tool("mtools", "mtools"),
  mcopy: tool("mtools", "mtools"),
  "qemu-img": tool("qemu-utils", "qemu"),
  "qemu-system-x86_64": tool("qemu-system-x86", "qemu"),
  "grub-mkimage": tool("grub-common", "grub2"),
} as const satisfies Readonly<Record<string, DiskTool>>;

export type DiskToolName = keyof typeof TOOLS;

/** Where Debian keeps programs that are not on every user's path. */
const SYSTEM_DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Where programs are on NixOS and elsewhere. */
const SCRIPT_DIRECTORIES = ["/run/current-system/sw/bin", ...SYSTEM_DIRECTORIES, "/usr/local/bin", "/usr/bin", "/bin"];

export interface RunOptions {
  readonly stdin?: string | Uint8Array | undefined;
  /** Exit statuses that are no failure; by default 0. */
  readonly okStatus?: readonly number[] | undefined;
  /** By default two minutes, and more for what it works on. */
  readonly deadlineMs?: number | undefined;
  /** The largest file that it reads or writes: it may take long. */
  readonly over?: string | undefined;
  /** Is given its standard output, which is not kept then. */
  readonly onOutput?: ((text: string) => void) | undefined;
}

/**
 * Runs external programs with an environment of their own: of the caller's none reaches them, as variables, umask, configuration files in the home and
 * locales would end up in images.
 */
export class DiskTools {
  readonly #directory: TemporaryDirectory;
  readonly #signal: AbortSignal | undefined;
  #guard: Promise<string | undefined> | undefined;
  readonly #versions = new Map<string, string>();

  /** @throws OciNixError `output` where there can be no temporary files */
  constructor(options: { readonly signal?: AbortSignal | undefined } = {}) {
    this.#directory = makeTemporaryDirectory();
    this.#signal = options.signal;
    // The machine's own would change what mke2fs makes.
    try {
      writeFileSync(join(this.directory, "mke2fs.conf"), MKE2FS_CONF);
    } catch (error) {
      this.close();
      throw new OciNixError("output", `cannot write to ${this.directory}: ${describeErrno(error)}`, {
        hint: "set TMPDIR to a directory that can be written to",
        cause: error,
      });
    }
  }

  /** For temporary files; removed by {@link close}. */
  get directory(): string {
    return this.#directory.path;
  }

  /** The version of every tool that ran, and of what was {@link note}d, by name. */
  get versions(): ReadonlyMap<string, string> {
    return new Map([...this.#versions].sort(([a], [b]) => compareStrings(a, b)));
  }

  /** Adds the version of files that are put into disks, or what they are made of. */
  note(name: string, version: string | undefined): void {
    this.#versions.set(name, version ?? "unknown");
  }

  /**
   * Runs a tool to its end and gives its standard output. It has no more than 4 GiB of memory; one that works on a large file does not outlive
   * this process.
   * @throws OciNixError `not-found` naming the packages of a tool that is missing; `invalid-input` with command, exit and last lines of one that fails;
   *   `output` where it failed as there was no space; `limit` past the deadline, or where it says too much; the signal's reason
   */
  async run(name: DiskToolName, args: readonly string[], options: RunOptions = {}): Promise<string> {
    await this.#noteVersion(name);
    const { okStatus = [0], over, stdin, onOutput, deadlineMs = deadlineOver(over) } = options;
    if (over !== undefined) this.#guard ??= guard(this.directory);
    const guarded = over === undefined ? undefined : await this.#guard;
    const wrapper = [...(guarded === undefined ? [] : [guarded, ...DIE_WITH_PARENT]), ...LIMIT_MEMORY];
    let complaints = "";
    const listen = (stream: "stdout" | "stderr", bytes: Uint8Array) => {
      const text = Buffer.from(bytes).toString("utf8");
      if (stream === "stdout") onOutput?.(text);
      else complaints = (complaints + text).slice(-LAST_CHARACTERS);
    };
    const heard = onOutput === undefined ? {} : { onOutput: listen };
    const { status, stdout, stderr } = await this.#start(name, args, { stdin, ...heard, deadlineMs, wrapper });
    if (typeof status === "number" && okStatus.includes(status)) return stdout;
    const how = typeof status === "number" ? `exit ${status}` : status;
    const words = `${stdout}\n${stderr}${complaints}`.trim().split("\n").slice(-LAST_LINES).join("\n");
    const isBeside = over !== undefined && !over.startsWith(`${this.directory}/`);
    const isFull = words.includes("No space left on device");
    throw new OciNixError(
      isFull ? "output" : "invalid-input",
      `${[name, ...args].join(" ")} failed (${how}): ${words}`,
      isFull
        ? { hint: isBeside ? "make room there" : "make room there, or set TMPDIR to a directory with more space" }
        : {},
    );
  }

  /**
   * Runs a tool that talks while it runs, and gives how it ended: one that fails is a result. It does not outlive this process, either.
   * @throws OciNixError as {@link run} where it is missing; the reason of a signal
   */
  async talk(
    name: DiskToolName,
    args: readonly string[],
    { onOutput, signal }: { readonly onOutput: OnOutput; readonly signal: AbortSignal },
  ): Promise<number | NodeJS.Signals> {
    await this.#noteVersion(name);
    const signals = AbortSignal.any(this.#signal === undefined ? [signal] : [signal, this.#signal]);
    this.#guard ??= guard(this.directory);
    const guarded = await this.#guard;
    const wrapper = guarded === undefined ? [] : [guarded, ...DIE_WITH_PARENT];
    return (await this.#start(name, args, { signal: signals, onOutput, wrapper })).status;
  }

  /** What a script of the spec has of an environment: that of tools, any of which it can run, besides what the system has. */
  get scriptEnvironment(): Readonly<Record<string, string>> {
    const programs = ["sh", "cp", ...Object.keys(TOOLS)].flatMap((name) => findTool(name) ?? []);
    const path = new Set([...programs.map((file) => dirname(file)), ...SCRIPT_DIRECTORIES]);
    return { ...ENVIRONMENT, PATH: [...path].join(":"), ...this.#own() };
  }

  /** Removes its temporary files. */
  close(): void {
    this.#directory.remove();
  }

  async #noteVersion(name: DiskToolName): Promise<void> {
    if (!this.#versions.has(name)) this.#versions.set(name, await this.#version(name));
  }

  async #version(name: DiskToolName): Promise<string> {
    const { stdout, stderr } = await this.#start(name, TOOLS[name].version, { deadlineMs: 30_000 });
    const line = `${stdout}\n${stderr}`.split("\n").find((each) => /\d+\.\d/.test(each)) ?? "";
    // With the distribution's own: 2.06-13+deb12u1.
    return /\d+(?:\.\d+)+[^\s(),]*/.exec(line)?.[0] ?? "unknown";
  }

  async #start(name: DiskToolName, args: readonly string[], options: StartOptions) {
    const { stdin, deadlineMs, signal = this.#signal, onOutput, wrapper = [] } = options;
    const description = { program: name, args, ...TOOLS[name] };
    const file = findTool(name);
    if (file === undefined) throw notOnPath(description);
    const [first = file, ...rest] = [...wrapper, file, ...args];
    return await runInEnvironment(
      { ...description, args: rest },
      {
        file: first,
        environment: { ...ENVIRONMENT, PATH: dirname(file), ...this.#own() },
        directory: this.directory,
        signal,
        stdin,
        deadlineMs,
        onOutput,
      },
    );
  }

  #own(): Readonly<Record<string, string>> {
    return { TMPDIR: this.directory, MKE2FS_CONFIG: join(this.directory, "mke2fs.conf") };
  }
}

const LAST_LINES = 5;
const LAST_CHARACTERS = 2000;

interface StartOptions extends Pick<RunOptions, "stdin" | "deadlineMs"> {
  readonly onOutput?: OnOutput | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A program with its first arguments, which becomes the tool. */
  readonly wrapper?: readonly string[] | undefined;
}

/** Of setpriv, which then has a tool killed as soon as we are. */
const DIE_WITH_PARENT = ["--pdeathsig", "KILL", "--"];

const MOST_MEMORY_KIB = 4 * 2 ** 20;
const SHELL = "/bin/sh";
/** Disk images that are looked at may be made to exhaust it. A lower limit of the caller's stands. */
const LIMIT_MEMORY: readonly string[] = existsSync(SHELL)
  ? [SHELL, "-c", `ulimit -S -d ${MOST_MEMORY_KIB} 2>/dev/null; exec "$@"`, "sh"]
  : [];

const SHORTEST_DEADLINE_MS = 120_000;
/** A tenth of what a slow machine does: packing all that is in a file, and passing over its holes. */
const BYTES_PER_MS = { data: 4000, size: 256_000 } as const;

/** How long a tool may take that works on a file. */
function deadlineOver(file: string | undefined): number {
  const { size = 0, blocks = 0 } = (file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })) ?? {};
  // Longer ones are none to a timer.
  const most = 2 ** 31 - 1;
  const longer = (blocks * 512) / BYTES_PER_MS.data + size / BYTES_PER_MS.size;
  return Math.min(most, Math.ceil(SHORTEST_DEADLINE_MS + longer));
}

/** The file of setpriv, where it is one that can do this. */
async function guard(directory: string): Promise<string | undefined> {
  const file = findTool("setpriv");
  if (file === undefined) return undefined;
  const tool = { program: "setpriv", args: [...DIE_WITH_PARENT, file, "--version"], debianPackage: "util-linux" };
  const trial = await runInEnvironment(tool, { file, environment: ENVIRONMENT, directory });
  return trial.status === 0 ? file : undefined;
}

/** Everything that is in no image: where a program asks for it, the answer is the same everywhere. */
const ENVIRONMENT = {
  HOME: "/homeless-shelter",
  LC_ALL: "C",
  TZ: "UTC",
  // FAT knows no time before.
  SOURCE_DATE_EPOCH: "315532800",
  // 0 would be now.
  E2FSPROGS_FAKE_TIME: "1",
  MTOOLSRC: "/dev/null",
  MTOOLS_SKIP_CHECK: "1",
} as const;

/** Features as e2fsprogs 1.47 has them, but for what GRUB 2.06 cannot read. */
const MKE2FS_CONF = `[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  enable_periodic_fsck = 0
  blocksize = 4096
  inode_size = 256
  inode_ratio = 16384
[fs_types]
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
  }
`;

function findTool(name: string): string | undefined {
  return findOnPath(name) ?? SYSTEM_DIRECTORIES.map((each) => join(each, name)).find((file) => existsSync(file));
}
