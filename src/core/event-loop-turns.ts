import { OciNixError } from "./errors.js";

const INTERVAL_MS = 20;

/**
 * Lets the event loop run every 20 ms of synchronous work, so that signals, timers and an AbortSignal are served.
 * Asking is cheap: only a turn that is due costs a promise.
 */
export class EventLoopTurns {
  readonly #signal: AbortSignal | undefined;
  #last = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** A promise only where a turn is due: await it. @throws OciNixError the signal's reason, once it is aborted */
  next(): void | Promise<void> {
    if (this.#signal?.aborted) throw abortReason(this.#signal);
    const now = performance.now();
    if (now - this.#last < INTERVAL_MS) return undefined;
    return new Promise((resolve) =>
      setImmediate(() => {
        this.#last = performance.now();
        resolve();
      }),
    );
  }
}

/** The error an aborted signal stands for: its own reason where that is an error of ours, else `interrupted`. */
export function abortReason(signal: AbortSignal): OciNixError {
  return signal.reason instanceof OciNixError
    ? signal.reason
    : new OciNixError("interrupted", "interrupted", { cause: signal.reason });
}
