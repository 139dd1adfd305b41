import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../../../core/errors.js";
import type { Tool } from "../../../core/process.js";
import { runTalking } from "../../../core/run-tool.js";
import { seccompFilter } from "./seccomp.js";

/** The joined root and what is around it, as the commands see it. */
export interface Sandbox {
  /** The joined root on this machine. */
  readonly root: string;
  /** Where the commands see it: `/`, or a directory of a system that is this machine's. */
  readonly rootAt: string;
  /** A directory of this machine that the commands can read: the scripts, and what runs them. */
  readonly support: string;
  /** Where they see it. */
  readonly supportAt: string;
  /** The one part of it that they can write, for what they give back; below {@link supportAt}. */
  readonly results?: string | undefined;
  /** For files that are open only: nobody but the caller can look into it. */
  readonly directory: string;
  /** The store's files, and where the commands see them. */
  readonly store: { readonly files: string; readonly directory: string };
  /** The user, and the group, that runs them there. */
  readonly id: number;
  readonly environment: Readonly<Record<string, string>>;
}

/** What the commands run in. */
const BWRAP = { program: "bwrap", debianPackage: "bubblewrap", nixPackage: "bubblewrap" } as const;

/** What runs the programs of this machine, besides /usr. */
const SYSTEM = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const SYSTEM_CONFIGURATION = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

/**
 * Runs a program in a sandbox: namespaces of its own for users, mounts, processes, networks, IPC and the host name, no capabilities, no network
 * but its own loopback, no keys, and of this machine nothing that {@link Sandbox} does not name. Everything it started is ended with it.
 * @throws OciNixError `not-found` without bubblewrap; `unsupported` where this machine does not let anybody make a sandbox; the signal's reason
 */
export async function runInSandbox(
  sandbox: Sandbox,
  command: readonly string[],
  options: { readonly signal?: AbortSignal | undefined; readonly onLine?: ((line: string) => void) | undefined },
): Promise<{ readonly status: number | NodeJS.Signals; readonly words: string }> {
  // What is on bubblewrap's own command line can be read in the sandbox, as can its environment.
  const given = ["--seccomp", "4", ...argumentsOf(sandbox)].map((word) => `${word}\0`).join("");
  const descriptors: number[] = [];
  try {
    descriptors.push(unnamedFile(sandbox.directory, Buffer.from(given)));
    descriptors.push(unnamedFile(sandbox.directory, seccompFilter()));
    const tool: Tool = { ...BWRAP, args: ["--args", "3", "--", ...command] };
    const result = await runTalking(tool, { ...options, environment: {}, descriptors });
    if (result.status !== 0 && result.words.startsWith("bwrap: ")) throw noSandbox(result.words.trim());
    return result;
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}

/** An open file of these bytes that has no name any more. */
function unnamedFile(directory: string, bytes: Uint8Array): number {
  const file = join(directory, "given");
  writeFileSync(file, bytes);
  const descriptor = openSync(file, "r");
  rmSync(file);
  return descriptor;
}

/** Of /proc, what is about the process that asks: a mount of its own shows it already. */
const OWN_PROC = /^(\d+|self|thread-self|mounts|net)$/;

/**
 * A user namespace is no fence for root, who owns the kernel's settings in it, too. So all that is not about processes can be read only, where
 * root is the caller.
 */
function kernelFiles(): readonly string[] {
  if (process.geteuid?.() !== 0) return [];
  return readdirSync("/proc").flatMap((name) => {
    const file = join("/proc", name);
    const stat = OWN_PROC.test(name) ? undefined : lstatSync(file, { throwIfNoEntry: false });
    const isWritable = stat?.isDirectory() || (stat?.isFile() && (stat.mode & 0o222) !== 0);
    return isWritable ? ["--ro-bind", file, file] : [];
  });
}

function argumentsOf(sandbox: Sandbox): readonly string[] {
  const { root, rootAt, support, supportAt, results, store, id, environment } = sandbox;
  return [
    ...["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ...["--uid", `${id}`, "--gid", `${id}`, "--hostname", "localhost", "--clearenv"],
    ...Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
    ...(rootAt === "/" ? ["--bind", root, "/"] : hostSystem(support)),
    ...["--proc", "/proc", ...kernelFiles(), "--dev", "/dev"],
    ...(rootAt === "/" ? [] : ["--tmpfs", "/tmp", "--bind", root, rootAt]),
    ...["--ro-bind", store.files, store.directory],
    ...["--ro-bind", support, supportAt],
    ...(results === undefined ? [] : ["--bind", `${support}/${results}`, `${supportAt}/${results}`]),
    // What bubblewrap made to have places for all this is not for the commands to write in.
    ...(rootAt === "/" ? [] : ["--remount-ro", "/"]),
    ...["--chdir", rootAt],
  ];
}

/** What this machine's programs need, and nothing of its users. */
function hostSystem(support: string): readonly string[] {
  return [
    ...["--ro-bind", "/usr", "/usr"],
    ...SYSTEM.flatMap((path) => {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return [];
      return stat.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path];
    }),
    ...SYSTEM_CONFIGURATION.flatMap((path) => ["--ro-bind-try", path, path]),
    ...["passwd", "group"].flatMap((name) => ["--ro-bind", `${support}/${name}`, `/etc/${name}`]),
  ];
}

function noSandbox(words: string): OciNixError {
  return new OciNixError("unsupported", `no sandbox can be made for the commands: ${words}`, {
    hint: "they need user namespaces: allow them (sysctl kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that lets unshare and mount through); commands never run outside a sandbox",
  });
}
