/** Lets only so many go on at once. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /**
   * Waits for a slot.
   * @param isUrgent before others that wait
   * @returns what gives it back, once
   */
  async take(isUrgent = false): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else {
      await new Promise<void>((resolve) => {
        if (isUrgent) this.#waiting.unshift(resolve);
        else this.#waiting.push(resolve);
      });
    }
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    const giveBack = await this.take();
    try {
      return await job();
    } finally {
      giveBack();
    }
  }
}
