import { abortReason } from "../../core/event-loop-turns.js";

/** Jobs in the background. The first that fails ends all. */
export class Background {
  readonly #abort = new AbortController();
  readonly #outer: AbortSignal | undefined;
  /** What is under way; does not fail. */
  readonly #running = new Set<Promise<void>>();
  #failure: unknown;
  /** Ends with the outer one, with a job that fails, and with {@link end}. */
  readonly signal: AbortSignal;

  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer;
    this.signal = outer === undefined ? this.#abort.signal : AbortSignal.any([outer, this.#abort.signal]);
  }

  /** @throws the outer signal's reason; what a job failed with */
  check(): void {
    if (this.#outer?.aborted) throw abortReason(this.#outer);
    if (this.#failure !== undefined) throw this.#failure;
  }

  start(job: () => Promise<void>): void {
    const running = job()
      .catch((error: unknown) => {
        this.#failure ??= error;
        this.#abort.abort(error);
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Waits until nothing is under way. @throws as {@link check} */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
    this.check();
  }

  /** Ends what is under way. */
  async end(reason: Error): Promise<void> {
    this.#abort.abort(reason);
    await Promise.all(this.#running);
  }
}
