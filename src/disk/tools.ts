import { existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compareStrings, OciNixError } from "../core/errors.js";
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
  sgdisk: tool("gdisk", "gptfdisk"),
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
  readonly deadlineMs?: number | undefined;
}

/**
 * Runs external programs with an environment of their own: of the caller's none reaches them, as variables, umask, configuration files in the home and
 * locales would end up in images.
 */
export class DiskTools {
  readonly #directory: TemporaryDirectory;
  readonly #signal: AbortSignal | undefined;
  #guard: Promise<string | undefined> | undefined;
  readonly #versions = new Map<DiskToolName, string>();

  /** @throws OciNixError `output` where there can be no temporary files */
  constructor(options: { readonly signal?: AbortSignal | undefined } = {}) {
    this.#directory = makeTemporaryDirectory();
    this.#signal = options.signal;
    // The machine's own would change what mke2fs makes.
    writeFileSync(join(this.directory, "mke2fs.conf"), MKE2FS_CONF);
  }

  /** For temporary files; removed by {@link close}. */
  get directory(): string {
    return this.#directory.path;
  }

  /** The program and the package of every tool that ran, with its version, by name. */
  get versions(): ReadonlyMap<string, string> {
    return new Map([...this.#versions].sort(([a], [b]) => compareStrings(a, b)));
  }

  /**
   * Runs a tool to its end and gives its standard output.
   * @throws OciNixError `not-found` naming the packages of a tool that is missing; `invalid-input` with command, exit and last lines of one that fails;
   *   `limit` past the deadline; the signal's reason
   */
  async run(name: DiskToolName, args: readonly string[], options: RunOptions = {}): Promise<string> {
    await this.#noteVersion(name);
    const { okStatus = [0] } = options;
    const { status, stdout, stderr } = await this.#start(name, args, options);
    if (typeof status === "number" && okStatus.includes(status)) return stdout;
    const how = typeof status === "number" ? `exit ${status}` : status;
    const words = `${stdout}\n${stderr}`.trim().split("\n").slice(-LAST_LINES).join("\n");
    throw new OciNixError("invalid-input", `${[name, ...args].join(" ")} failed (${how}): ${words}`);
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
    return (await this.#start(name, args, { signal: signals, onOutput, wrapper: await this.#guard })).status;
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
    const { stdout, stderr } = await this.#start(name, TOOLS[name].version, { deadlineMs: 10_000 });
    const line = `${stdout}\n${stderr}`.split("\n").find((each) => /\d+\.\d/.test(each)) ?? "";
    return /\d+(?:\.\d+)+/.exec(line)?.[0] ?? "unknown";
  }

  async #start(name: DiskToolName, args: readonly string[], options: StartOptions) {
    const { stdin, deadlineMs, signal = this.#signal, onOutput, wrapper } = options;
    const description = { program: name, args, ...TOOLS[name] };
    const file = findTool(name);
    if (file === undefined) throw notOnPath(description);
    const wrapped = wrapper === undefined ? args : [...DIE_WITH_PARENT, file, ...args];
    return await runInEnvironment(
      { ...description, args: wrapped },
      {
        file: wrapper ?? file,
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

interface StartOptions extends Omit<RunOptions, "okStatus"> {
  readonly signal?: AbortSignal | undefined;
  readonly onOutput?: OnOutput | undefined;
  /** The file of setpriv, which has a tool killed as soon as we are. */
  readonly wrapper?: string | undefined;
}

const DIE_WITH_PARENT = ["--pdeathsig", "KILL", "--"];

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
