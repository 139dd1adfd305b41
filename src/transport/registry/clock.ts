import { setTimeout as delay } from "node:timers/promises";
import { abortReason } from "../../core/event-loop-turns.js";

/** Time and chance, so that tests need not wait for either. Nothing of it reaches an output. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** @throws OciNixError the signal's reason */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Runs something later, unless what it returns is called first. */
  after(ms: number, run: () => void): () => void;
  /** From 0, less than 1. */
  random(): number;
}

/** setTimeout's own limit: more would be no time at all. */
const LONGEST_MS = 2 ** 31 - 1;

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    try {
      await delay(Math.min(ms, LONGEST_MS), undefined, { signal });
    } catch {
      throw abortReason(signal);
    }
  },
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, LONGEST_MS));
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
