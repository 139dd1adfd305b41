import type { Clock } from "./clock.js";

export interface RetryPolicy {
  /** How often a request is sent at most. */
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

/** Pauses that hosts asked for: they hold for all requests to the host. */
export class HostPauses {
  readonly #until = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  pause(host: string, ms: number): void {
    this.#until.set(host, Math.max(this.#until.get(host) ?? 0, this.#clock.now() + ms));
  }

  /** How long the host is still to be left alone, in milliseconds. */
  remaining(host: string): number {
    return Math.max(0, (this.#until.get(host) ?? 0) - this.#clock.now());
  }
}
