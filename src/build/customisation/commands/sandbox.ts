import {
  closeSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../../../core/errors.js";
import { runTalking, type Tool } from "../../../core/process.js";
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
 * but its own loopback, no keys, and of this machine nothing that {@link Sandbox} does not name. Everything it started is ended with it. Root runs
 * it as {@link sandboxUser}, who must have been given what it is to write.
 * @throws OciNixError `not-found` without bubblewrap; `unsupported` where this machine does not let anybody make a sandbox; the signal's reason
 */
export async function runInSandbox(
  sandbox: Sandbox,
  command: readonly string[],
  options: { readonly signal?: AbortSignal | undefined; readonly onLine?: ((line: string) => void) | undefined },
): Promise<{ readonly status: number | NodeJS.Signals; readonly words: string }> {
  const user = sandboxUser();
  if (user !== undefined) for (const path of [sandbox.store.files, sandbox.support]) checkEntered(path, user);
  // What is on bubblewrap's own command line can be read in the sandbox, as can its environment.
  const given = ["--seccomp", "4", ...argumentsOf(sandbox)].map((word) => `${word}\0`).join("");
  const descriptors: number[] = [];
  try {
    descriptors.push(unnamedFile(sandbox.directory, Buffer.from(given)));
    descriptors.push(unnamedFile(sandbox.directory, seccompFilter()));
    const tool: Tool = { ...BWRAP, args: ["--args", "3", "--", ...command] };
    const result = await runTalking(tool, { ...options, environment: {}, user, descriptors });
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

/** Nobody's: neither a user's nor a service's. */
const UNUSED_ID = 65530;

/**
 * Who runs sandboxes where that is not the caller. A user namespace is no fence for root, who may change what belongs to root in it, such as the
 * kernel's settings. Where the caller is root in a user namespace only, and has no others to be, nothing belongs to it.
 */
export function sandboxUser(): number | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const isMapped = (file: string) =>
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number))
      .some(([start = 0, , count = 0]) => start <= UNUSED_ID && UNUSED_ID < start + count);
  return isMapped("/proc/self/uid_map") && isMapped("/proc/self/gid_map") ? UNUSED_ID : undefined;
}

/** @throws OciNixError `unsupported` where a directory above keeps the user out */
function checkEntered(path: string, user: number): void {
  const real = realpathSync(path);
  for (let end = real.indexOf("/", 1); end !== -1; end = real.indexOf("/", end + 1)) {
    const directory = real.slice(0, end);
    const stat = statSync(directory);
    const needed = stat.uid === user ? 0o100 : 0o001;
    if ((stat.mode & needed) !== 0) continue;
    throw new OciNixError(
      "unsupported",
      `commands that root runs are run as the user ${user}, whom ${directory} keeps out`,
      {
        hint: `let everybody enter it (chmod o+x), use another TMPDIR or store, or run oci-nix as an ordinary user`,
      },
    );
  }
}

function argumentsOf(sandbox: Sandbox): readonly string[] {
  const { root, rootAt, support, supportAt, results, store, id, environment } = sandbox;
  return [
    ...["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ...["--uid", `${id}`, "--gid", `${id}`, "--hostname", "localhost", "--clearenv"],
    ...Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
    ...(rootAt === "/" ? ["--bind", root, "/"] : hostSystem(support)),
    ...["--proc", "/proc", "--dev", "/dev"],
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
