import type { Clock } from "../../src/transport/registry/clock.js";

/** A clock that stands still, but where somebody sleeps: that takes no time, and moves it on. */
export interface VirtualClock extends Clock {
  /** What was slept, in milliseconds, in order. */
  readonly slept: readonly number[];
  /** Moves on, and runs what became due. */
  advance(ms: number): void;
  /** What `random` gives from now on. */
  chance: number;
}

export function virtualClock(start = Date.UTC(2026, 0, 2, 3, 4, 5)): VirtualClock {
  let time = start;
  const slept: number[] = [];
  const timers = new Set<{ readonly due: number; readonly run: () => void }>();
  const advance = (ms: number) => {
    time += ms;
    for (const timer of [...timers].sort((a, b) => a.due - b.due)) {
      if (timer.due <= time && timers.delete(timer)) timer.run();
    }
  };
  return {
    slept,
    chance: 0.5,
    now: () => time,
    advance,
    async sleep(ms, signal) {
      signal.throwIfAborted();
      slept.push(ms);
      advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    },
    after(ms, run) {
      const timer = { due: time + ms, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    random() {
      return this.chance;
    },
  };
}
