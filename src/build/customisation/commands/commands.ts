import { chmodSync, closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, encodeUtf8, fsPath } from "../../../core/byte-string.js";
import { errnoOf, OciNixError } from "../../../core/errors.js";
import { EventLoopTurns } from "../../../core/event-loop-turns.js";
import type { GeneratedObject, SpecialFile } from "../../../core/generated-object.js";
import type { Ownership } from "../../../core/ownership.js";
import { makeTemporaryDirectory } from "../../../core/temporary.js";
import type { EntryList } from "../../../tar/entry-list.js";
import { copyFakeroot, LIBRARY, LOADER, SERVER, SERVER_DIRECTORY } from "./fakeroot.js";
import { formatRecord, parseRecord } from "./fakeroot-record.js";
import { listTree, makeTree, type Said } from "./joined-root.js";
import { mountPoints } from "./mount-points.js";
import { faked, objectsOf, recordOf, settled } from "./result.js";
import { runInSandbox, type Sandbox } from "./sandbox.js";
import { findShell } from "./shell.js";

/** The commands of a spec. */
export interface Commands {
  /** A shell script that runs in the joined root, as an ordinary user. */
  readonly extraCommands?: string | undefined;
  /** One that runs after it, as root so far as it can tell. */
  readonly fakeRootCommands?: string | undefined;
  /** Whether `fakeRootCommands` has the joined root as its root. */
  readonly enableFakechroot?: boolean | undefined;
  /** Directories with the programs, as the commands see them. */
  readonly commandPath?: readonly string[] | undefined;
}

export interface CommandOptions {
  /** Where the store's files are, and what the commands see them as. */
  readonly store: { readonly files: string; readonly directory: string };
  /** Of what is new. */
  readonly owner: Ownership;
  /** Of all files that the commands are given, in seconds; they see it as SOURCE_DATE_EPOCH, too. */
  readonly mtime: number;
  /** Whether a directory's mode is meant, by where it is read. Others can be written to. */
  readonly keepsMode: (source: ByteString) => boolean;
  readonly signal?: AbortSignal | undefined;
  /** Is given what the commands say, line by line, and how they are run. */
  readonly onLine?: ((line: string) => void) | undefined;
}

/** What commands made. */
export interface CommandResult {
  readonly objects: readonly (GeneratedObject | SpecialFile)[];
  /** Removes the files that {@link objects} are copies of. */
  close(): void;
}

/** Beside the joined root. */
const SUPPORT = "support";
/** Of {@link SUPPORT}, what the commands may write. */
const RESULTS = "results";
const HOST_PATH = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/**
 * Runs commands in a tree and gives what they left of it.
 * @param entries the tree before
 * @throws OciNixError `invalid-input` where commands fail, with their last words, or leave something in the store; `not-found` where a program is
 *   missing; `unsupported` where this machine lets nobody make a sandbox; the signal's reason
 */
export async function runCommands(
  commands: Commands,
  entries: EntryList,
  options: CommandOptions,
): Promise<CommandResult> {
  const directory = makeTemporaryDirectory();
  try {
    return { objects: await run(commands, entries, directory.path, options), close: () => directory.remove() };
  } catch (error) {
    directory.remove();
    throw error;
  }
}

async function run(
  commands: Commands,
  entries: EntryList,
  directory: string,
  options: CommandOptions,
): Promise<CommandResult["objects"]> {
  const { extraCommands, fakeRootCommands } = commands;
  const { owner, mtime, keepsMode, store } = options;
  const turns = new EventLoopTurns(options.signal);
  const root = join(directory, "root");
  const support = join(directory, SUPPORT);
  for (const each of [root, support, join(support, RESULTS)]) mkdirSync(each, { mode: 0o755 });
  const user = (name: string, id: number, rest: string) => `${name}:x:${id}:${rest}\n`;
  const users = [
    ["root", 0],
    ["build", BUILD_ID],
    ["nobody", 65534],
  ] as const;
  const write = (name: string, text: string) => writeFileSync(join(support, name), text);
  write("passwd", users.map(([name, id]) => user(name, id, `${id}::${HOME}:/noshell`)).join(""));
  write("group", users.map(([name, id]) => user(name, id, "")).join(""));
  const at = encodeUtf8(root);
  const said = await makeTree(entries, at, { mtime, keepsMode, turns });
  const place: Place = { commands, directory, root, support, options };
  if (extraCommands !== undefined) {
    write("extraCommands", extraCommands);
    write("run", RUN);
    await runScript("extraCommands", { ...place, id: BUILD_ID, isRoot: false });
  }
  const storeDir = encodeUtf8(store.directory);
  const before = settled(await listTree(at, turns), said, owner);
  if (fakeRootCommands === undefined) return objectsOf(before, { root: at, storeDir, left: new Set() });

  write("fakeRootCommands", fakeRootCommands);
  write("run", RUN_UNDER_FAKEROOT);
  await copyFakeroot(support, options.signal);
  lend(before, at);
  const isRoot = commands.enableFakechroot === true;
  const left = isRoot ? mountPoints(root, ["/dev", "/proc", store.directory]) : new Set<ByteString>();
  write(OWNERS, formatRecord(recordOf(before)));
  await runScript("fakeRootCommands", { ...place, id: 0, isRoot });
  const record = parseRecord(readGiven(join(support, RECORD), LONGEST_RECORD));
  const known = new Map<ByteString, Said>();
  for (const { path, owner } of before) known.set(path, { type: "file", owner });
  return objectsOf(faked(await listTree(at, turns), record, known), { root: at, storeDir, left });
}

const BUILD_ID = 1000;
/** Nobody's: programs that want one fail, as in Nix's own builds. */
const HOME = "/homeless-shelter";
const OWNERS = `${RESULTS}/owners`;
const RECORD = `${RESULTS}/record`;
const PROBE = `${RESULTS}/probe`;

/** Runs what it is given. */
const RUN = `umask 022
exec "$@"
`;

/**
 * Runs what it is given under fakeroot; its first argument is the shell, the second the directory that holds fakeroot. A library that cannot be
 * loaded is said by the loader, on standard error, and otherwise ignored: so a probe goes first. The last word that a program sends to the server
 * waits for no answer, but the probe at the end does, and has its turn after it. Files are not really given away: fakeroot would ignore only one of
 * the errors that this may end in.
 */
const RUN_UNDER_FAKEROOT = `umask 022
shell=$1
support=$2
shift 2
server=$("$support/${LOADER}" --library-path "$support/${SERVER_DIRECTORY}" "$support/${SERVER}" --load --save-file "$support/${RECORD}" <"$support/${OWNERS}") || exit 1
key=\${server%%:*}
pid=\${server##*:}
fakeroot() { FAKEROOTKEY=$key FAKEROOTDONTTRYCHOWN=1 FAKED_MODE=unknown-is-root LD_PRELOAD=$support/${LIBRARY} "$@"; }
fakeroot "$shell" -c : 2>"$support/${PROBE}"
if [ -s "$support/${PROBE}" ]; then exit 1; fi
fakeroot "$@"
status=$?
fakeroot "$shell" -c '[ -d / ] && [ -d /proc ]'
kill -s TERM "$pid"
while kill -0 "$pid" 2>/dev/null; do :; done
exit "$status"
`;

interface Place {
  readonly commands: Commands;
  readonly directory: string;
  readonly root: string;
  readonly support: string;
  readonly options: CommandOptions;
}

/** @throws OciNixError as {@link runCommands} */
async function runScript(
  name: "extraCommands" | "fakeRootCommands",
  {
    commands,
    directory,
    root,
    support,
    options,
    id,
    isRoot,
  }: Place & { readonly id: number; readonly isRoot: boolean },
): Promise<void> {
  const { store, mtime, signal, onLine } = options;
  const path = commands.commandPath ?? (isRoot ? ["/bin", "/usr/bin", "/sbin", "/usr/sbin"] : HOST_PATH);
  const shell = findShell(path, (each) => placeOf(each, { store, root: isRoot ? root : "" }), name);
  const supportAt = isRoot ? "/dev/oci-nix" : "/build/support";
  const isFaked = name === "fakeRootCommands";
  const sandbox: Sandbox = {
    ...{ directory, root, support, supportAt, store, id, rootAt: isRoot ? "/" : "/build/root" },
    results: isFaked ? RESULTS : undefined,
    environment: {
      HOME,
      LC_ALL: "C",
      PATH: path.join(":"),
      SOURCE_DATE_EPOCH: `${mtime}`,
      TMPDIR: isRoot ? "/dev/shm" : "/tmp",
      TZ: "UTC",
    },
  };
  const script = [shell.path, ...shell.options, `${supportAt}/${name}`];
  const runner = [shell.path, `${supportAt}/run`, ...(isFaked ? [shell.path, supportAt] : []), ...script];
  onLine?.(
    `${name}: in bubblewrap's sandbox${isRoot ? " with a root of its own" : ""}${isFaked ? ", under fakeroot" : ""}`,
  );
  const { status, words } = await runInSandbox(sandbox, runner, { signal, onLine });
  const probe = isFaked ? readGiven(join(support, PROBE), LONGEST_PROBE) : "";
  if (probe !== "") throw notPreloaded(shell.path, probe);
  if (status === 0) return;
  const how =
    typeof status === "string" ? status : status > 128 ? `exit ${status}, signal ${status - 128}` : `exit ${status}`;
  const said = lastLines(words);
  throw new OciNixError("invalid-input", `${name} failed (${how}): ${said || "it said nothing"}`, {
    hint: isFaked ? UNDER_FAKEROOT_HINT : HINT,
  });
}

/** What was said last, in one line. */
function lastLines(words: string): string {
  const lines = words.split("\n").filter((line) => line.trim() !== "");
  return lines.slice(-LAST_LINES).join(" / ");
}

const LAST_LINES = 5;
const HINT =
  "it runs without network, environment and home, can change only the joined root, in which it starts, and finds programs on commandPath (--command-path)";
const UNDER_FAKEROOT_HINT = `${HINT}; fakeroot works for dynamically linked programs only: others cannot give files to other users, or make devices`;

/** Where a path that the commands see is on this machine. */
function placeOf(
  path: string,
  { store, root }: { readonly store: CommandOptions["store"]; readonly root: string },
): string | undefined {
  if (path === store.directory || path.startsWith(`${store.directory}/`)) {
    return store.files + path.slice(store.directory.length);
  }
  // A directory that leads to the store.
  if (store.directory.startsWith(`${path}/`)) return "/";
  return /^\/(dev|proc)(\/|$)/.test(path) ? undefined : root + path;
}

/** Root can write everywhere; under fakeroot that takes the owner's rights. */
function lend(objects: ReturnType<typeof settled>, root: ByteString): void {
  for (const { path, stat, mode } of objects) {
    if (stat.isDirectory()) chmodSync(fsPath(root + path), mode | 0o700);
    else if (stat.isFile()) chmodSync(fsPath(root + path), mode | 0o600);
  }
}

function notPreloaded(shell: string, words: string): OciNixError {
  return new OciNixError("unsupported", `fakeroot's library cannot be loaded into ${shell}: ${words.trim()}`, {
    hint: "it was made for another C library: put a fakeroot on the PATH that was made with that of the commands' programs, or a newer shell on commandPath",
  });
}

/** A line for each of a few million files. */
const LONGEST_RECORD = 512 * 1024 * 1024;
const LONGEST_PROBE = 4096;

/** The text of a file where the commands, too, could have put something; empty where nothing is. @throws OciNixError `invalid-input` */
function readGiven(file: string, longest: number): string {
  let fd: number | undefined;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.size <= longest) return readFileSync(fd, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    if (errnoOf(error) !== "ELOOP") throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  throw new OciNixError("invalid-input", "the commands put something else in the place of what fakeroot wrote", {
    hint: "/build/support, or /dev/oci-nix, is not theirs",
  });
}
