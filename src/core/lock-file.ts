import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

/** What is done under a lock takes milliseconds: whoever holds one this long was killed. */
const ABANDONED_MS = 5000;
const RETRY_MS = 10;

/**
 * Runs something that takes milliseconds while nobody else runs anything under the same lock, in any process.
 * @param file the lock: a file that is there while it is held
 * @throws OciNixError `output` where it cannot be made; the signal's reason; what `run` throws
 */
export async function withLockFile<T>(file: string, run: () => T, signal?: AbortSignal): Promise<T> {
  await acquire(file, signal);
  try {
    return run();
  } finally {
    rmSync(file, { force: true });
  }
}

async function acquire(file: string, signal: AbortSignal | undefined): Promise<void> {
  let holder: string | undefined;
  let since = 0;
  for (;;) {
    if (signal?.aborted) throw abortReason(signal);
    try {
      closeSync(openSync(file, "wx"));
      return;
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
    } else if (now - since > ABANDONED_MS) {
      rmSync(file, { force: true });
    }
    await sleep(RETRY_MS);
  }
}

function identityOf(file: string): string | undefined {
  const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? undefined : `${stat.ino} ${stat.ctimeNs}`;
}
