import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { type ByteString, encodeUtf8, fsPath } from "./byte-string.js";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";

/** Temporary names say which process made them, so that those of ended ones can be told from those of others. */
export function temporaryName(directory: string): string {
  return `${directory}/.oci-nix-${processSpace()}-${process.pid}-${randomBytes(6).toString("hex")}.tmp`;
}

const TEMPORARY = /^\.oci-nix-([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.tmp$/;
/** Files of processes that we cannot see, on another machine or in another container, are theirs for so long. */
const FOREIGN_LIFE_MS = 24 * 3600 * 1000;

/** Names the space in which a process number means one process: this boot of this machine, this PID namespace. */
function processSpace(): string {
  const parts = [
    () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8"),
    () => readlinkSync("/proc/self/ns/pid"),
  ].map((read) => {
    try {
      return read();
    } catch {
      return "";
    }
  });
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 8);
}

/** Removes temporary files and directories that processes left somewhere when they were killed; those of running ones stay. Never fails. */
export function removeLeftovers(directory: string): void {
  try {
    const space = processSpace();
    for (const name of readdirSync(directory)) {
      const [, madeIn, pid] = TEMPORARY.exec(name) ?? [];
      if (madeIn === undefined) continue;
      const file = `${directory}/${name}`;
      const isOld = () => Date.now() - statSync(file).mtimeMs > FOREIGN_LIFE_MS;
      if (madeIn === space ? !isRunning(Number(pid)) : isOld()) removeTree(file);
    }
  } catch {
    // They only take space, and the next run looks again.
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== "ESRCH";
  }
}

/** A directory that is not to stay. */
export interface TemporaryDirectory {
  readonly path: string;
  /** Removes it, whatever is in it. Never fails. Happens at the end of the process, too. */
  remove(): void;
}

/**
 * Makes a directory for temporary files in another one, by default in that of the system, or in `TMPDIR`. Nobody else can look into it.
 * @throws OciNixError `output`
 */
export function makeTemporaryDirectory(parent?: string): TemporaryDirectory {
  const above = parent ?? tmpdir();
  const path = temporaryName(above);
  removeLeftovers(above);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    throw new OciNixError("output", `cannot make a directory in ${above}: ${describeErrno(error)}`, {
      ...(parent === undefined ? { hint: "set TMPDIR to a directory that can be written to" } : {}),
      cause: error,
    });
  }
  const remove = () => removeTree(path);
  // Whoever forgets to remove it, or is stopped by an error before, leaves nothing behind either.
  process.once("exit", remove);
  return {
    path,
    remove() {
      process.off("exit", remove);
      remove();
    },
  };
}

function removeTree(path: string): void {
  if (removeByName(path)) return;
  // Paths may be too long for a system call, but not for programs that go into one directory after the other.
  for (const [program, ...args] of [
    ["chmod", "-R", "u+rwx", "--", path],
    ["rm", "-rf", "--", path],
  ] as const) {
    spawnSync(program, args, { stdio: "ignore" });
  }
}

/** @returns whether there is nothing more to be tried */
function removeByName(path: string): boolean {
  try {
    const stat = lstatSync(path);
    // In a directory that all can write to, others may have made it, and may change it under our hands: only where it is empty.
    if (stat.isDirectory() && (stat.uid !== process.geteuid?.() || (stat.mode & 0o077) !== 0)) {
      rmdirSync(path);
      return true;
    }
    if (stat.isDirectory()) openDirectories(encodeUtf8(path));
    rmSync(path, { recursive: true, force: true });
    return true;
  } catch (error) {
    // Somebody else's, or gone.
    return errnoOf(error) !== "ENAMETOOLONG";
  }
}

/** What is in a directory can be removed by who may write there. */
function openDirectories(directory: ByteString): void {
  chmodSync(fsPath(directory), 0o700);
  for (const entry of readdirSync(fsPath(directory), { encoding: "latin1", withFileTypes: true })) {
    if (entry.isDirectory()) openDirectories(`${directory}/${entry.name}`);
  }
}
