import { randomBytes } from "node:crypto";
import { closeSync, linkSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

/** What is done under a lock takes milliseconds: whoever holds one this long was killed, or stopped. */
const ABANDONED_MS = 5000;
const RETRY_MS = 10;

/**
 * Runs something that takes milliseconds while nobody else runs anything under the same lock, in any process.
 * @param file the lock: a file that is there while it is held
 * @param run told whether the lock is still held, as it can be lost by being stopped for seconds; what it returns false for is done again
 * @throws OciNixError `output` where it cannot be made; the signal's reason; what `run` throws
 */
export async function withLockFile(
  file: string,
  run: (isHeld: () => boolean) => boolean,
  signal?: AbortSignal,
): Promise<void> {
  for (let isDone = false; !isDone; ) {
    const ours = await acquire(file, signal);
    const isHeld = () => identityOf(file) === ours;
    try {
      isDone = run(isHeld);
    } finally {
      if (isHeld()) rmSync(file, { force: true });
    }
  }
}

/** @returns what tells the lock from others of its name */
async function acquire(file: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  let holder: string | undefined;
  let since = 0;
  for (;;) {
    if (signal?.aborted) throw abortReason(signal);
    try {
      closeSync(openSync(file, "wx"));
      return identityOf(file);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") {
        throw new OciNixError("output", `cannot make ${file}: ${describeErrno(error)}`, { cause: error });
      }
    }
    // Clocks of file systems are not ours: a lock is old when we have seen the same one for long.
    const found = identityOf(file);
    const now = performance.now();
    if (found !== holder) {
      holder = found;
      since = now;
    } else if (found !== undefined && now - since > ABANDONED_MS) {
      breakLock(file, found);
    }
    await sleep(RETRY_MS);
  }
}

/** Removes an abandoned lock, and not another one that took its place meanwhile. */
function breakLock(file: string, identity: string): void {
  const aside = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    renameSync(file, aside);
    if (identityOf(aside) !== identity) linkSync(aside, file);
  } catch {
    // Somebody else was quicker.
  }
  rmSync(aside, { force: true });
}

function identityOf(file: string): string | undefined {
  const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? undefined : `${stat.dev} ${stat.ino} ${stat.mtimeNs}`;
}
