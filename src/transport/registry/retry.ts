import { type Clock, SYSTEM_CLOCK } from "./clock.js";

export interface RetryPolicy {
  /** How often something is tried at most without getting on. */
  readonly attempts: number;
  /** The longest pause before the second attempt; it doubles with each further one. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A host that wants a longer pause than this is not waited for. */
  readonly maxRetryAfterMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  attempts: 5,
  baseMs: 500,
  maxMs: 30_000,
  maxRetryAfterMs: 120_000,
};

const MOST_SILENCES = 1;

/** The host did nothing but ask to come back. */
const COME_BACK: ReadonlySet<number> = new Set([408, 429, 503]);
/** Nobody knows what the host did. */
const BROKEN: ReadonlySet<number> = new Set([500, 502, 504]);

/** Whether an answer is worth another attempt. */
export function isRetryable(status: number, isRepeatable: boolean): boolean {
  return COME_BACK.has(status) || (isRepeatable && BROKEN.has(status));
}

/** Whether an answer's `Retry-After` speaks of the host, not of what was asked for. */
export function asksToComeBack(status: number): boolean {
  return COME_BACK.has(status) || BROKEN.has(status);
}

/** Exponential, with full jitter. @param attempt how many attempts were made */
export function backoffMs(attempt: number, { baseMs, maxMs }: RetryPolicy, clock: Clock): number {
  return Math.floor(clock.random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1)));
}

/**
 * How often something is tried: one count for all requests that it takes, greetings and tokens among them, so that what is tried again
 * below and above does not multiply.
 */
export class Attempts {
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #made = 1;
  #silences = 0;
  #isOver = false;

  constructor(signal: AbortSignal, policy: RetryPolicy = DEFAULT_RETRY_POLICY, clock: Clock = SYSTEM_CLOCK) {
    this.#signal = signal;
    this.#policy = policy;
    this.#clock = clock;
  }

  /** How many were made since something was achieved, the present one included. */
  get made(): number {
    return this.#made;
  }

  /**
   * Begins another one. What was not answered is sent once more only: to wait takes long.
   * @returns false where there is none
   */
  take({ isSilence }: { readonly isSilence: boolean } = { isSilence: false }): boolean {
    if (isSilence && ++this.#silences > MOST_SILENCES) return false;
    if (this.#isOver || this.#made >= this.#policy.attempts) return false;
    this.#made++;
    return true;
  }

  /** Something was achieved: they are counted from one again. */
  progress(): void {
    this.#made = 1;
    this.#silences = 0;
  }

  /** The present one is the last one. */
  end(): void {
    this.#isOver = true;
  }

  /** How long to wait before the next one, in milliseconds; to be asked before {@link take}. */
  backoffMs(): number {
    return backoffMs(this.#made, this.#policy, this.#clock);
  }

  /** As {@link take}, after a pause. @throws OciNixError the signal's reason */
  async takeLater(failure?: { readonly isSilence: boolean }): Promise<boolean> {
    const ms = this.backoffMs();
    if (!this.take(failure)) return false;
    await this.#clock.sleep(ms, this.#signal);
    return true;
  }
}

/** The form of today, and those before it (RFC 9110, 5.6.7), all in GMT. Date.parse takes much else for a date. */
const HTTP_DATES: readonly RegExp[] = [
  /^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$/,
  /^\w{6,9}, \d{2}-\w{3}-\d{2} \d{2}:\d{2}:\d{2} GMT$/,
  /^\w{3} \w{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/,
];

/** What `Retry-After` asks for in milliseconds from now: seconds, or an HTTP date; undefined where it says nothing. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const form = HTTP_DATES.find((pattern) => pattern.test(text));
  const date = form === undefined ? Number.NaN : Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** By clock, as their times are. */
const PAUSES = new WeakMap<Clock, HostPauses>();

/** Pauses that hosts asked for: they hold for all requests to the host, whoever sends them. */
export class HostPauses {
  readonly #until = new Map<string, number>();
  readonly #clock: Clock;

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  static of(clock: Clock): HostPauses {
    const pauses = PAUSES.get(clock) ?? new HostPauses(clock);
    PAUSES.set(clock, pauses);
    return pauses;
  }

  pause(host: string, ms: number): void {
    this.#until.set(host, Math.max(this.#until.get(host) ?? 0, this.#clock.now() + ms));
  }

  /** How long the host is still to be left alone, in milliseconds. */
  remaining(host: string): number {
    return Math.max(0, (this.#until.get(host) ?? 0) - this.#clock.now());
  }
}
