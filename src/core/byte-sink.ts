import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { abortReason } from "./event-loop-turns.js";

/** Where bytes go, in order. */
export interface ByteSink {
  /**
   * Takes all of `bytes`, which the caller may overwrite as soon as the call has returned or its promise has resolved.
   * A promise only where the sink has to wait.
   *
   * @param whileFull a little of the caller's other work, for the sink to do rather than to wait; false where there is none
   */
  write(bytes: Uint8Array, whileFull?: () => boolean): void | Promise<void>;
}

/** Takes everything and keeps nothing: for digests alone. */
export const nullSink: ByteSink = { write: () => undefined };

/** A {@link ByteSink} over a file descriptor that it may have opened itself. */
export interface FdSink extends ByteSink {
  /** Closes what the sink opened; the descriptor given to it stays open. */
  close(): void;
}

/**
 * A sink that writes to an open descriptor.
 *
 * Writes are synchronous, which is several times faster on a pipe than any queue. A full pipe is retried for a few milliseconds and
 * then waited for in the event loop, so a reader that stalls never blocks signal handlers.
 *
 * @throws OciNixError `output` from `write`: the reader went away, or the system call failed; `name` is what the message calls it.
 *   The signal's reason where `signal` is aborted while the sink waits.
 */
export function fdSink(fd: number, name: string, signal?: AbortSignal): FdSink {
  const stat = fstatSync(fd);
  if (stat.isSocket()) return socketSink(fd, name, signal);
  const own = stat.isFIFO() ? reopenNonBlocking(fd) : undefined;
  const target = own ?? fd;
  return {
    write(bytes, whileFull) {
      const written = writeSome(target, bytes, 0, { name, spinMs: SPIN_MS, whileFull });
      return written === bytes.length ? undefined : writeRest(target, bytes, written, name, signal);
    },
    close() {
      if (own !== undefined) closeSync(own);
    },
  };
}

/** A {@link ByteSink} that never waits. */
export interface FileSink {
  /** Where the next byte goes. */
  readonly position: number;
  write(bytes: Uint8Array): void;
}

/**
 * A sink that writes to a regular file from a position on, leaving the descriptor's own position alone.
 * @param from first position; `name` is what errors call the file
 * @throws OciNixError `output` from `write`
 */
export function fileSink(fd: number, name: string, from = 0): FileSink {
  let position = from;
  return {
    get position() {
      return position;
    },
    write(bytes) {
      for (let at = 0; at < bytes.length; ) {
        try {
          const count = writeSync(fd, bytes, at, bytes.length - at, position);
          at += count;
          position += count;
        } catch (error) {
          throw outputError(error, name);
        }
      }
    },
  };
}

/** Writes everything to several sinks. */
export function teeSink(sinks: readonly ByteSink[]): ByteSink {
  const [first, ...others] = sinks;
  if (first === undefined) return nullSink;
  if (others.length === 0) return first;
  return {
    write(bytes, whileFull) {
      const waiting = sinks.map((sink) => sink.write(bytes, whileFull)).filter((promise) => promise !== undefined);
      return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined);
    },
  };
}

/**
 * Non-blocking mode belongs to the open file description, which other processes share (a shell's pipe, a terminal), so it is never
 * set on a descriptor we were given: a pipe is opened a second time through /proc.
 */
function reopenNonBlocking(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // No /proc: plain blocking writes; a signal then waits until the reader takes the next block.
    return undefined;
  }
}

/** A socket cannot be opened a second time; libuv makes ours non-blocking and waits for it. */
function socketSink(fd: number, name: string, signal: AbortSignal | undefined): FdSink {
  const socket = new Socket({ fd, readable: false, writable: true });
  // Node tells the write's callback first and emits the event afterwards, when nobody waits for it any more.
  socket.on("error", () => undefined);
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        const abort = () => reject(abortReason(signal as AbortSignal));
        if (signal?.aborted) return abort();
        signal?.addEventListener("abort", abort, { once: true });
        socket.write(bytes, (error) => {
          signal?.removeEventListener("abort", abort);
          if (error) reject(outputError(error, name));
          else resolve();
        });
      }),
    close() {
      // Destroying it would close the caller's descriptor. What was not taken after an abort is not waited for.
      socket.unref();
    },
  };
}

const sleepCell = new Int32Array(new SharedArrayBuffer(4));
/** A reader that keeps up empties the pipe sooner; one that does not is waited for without using the processor. */
const SPIN_MS = 5;
const MAX_DELAY_MS = 16;

/** Writes until all is written or the descriptor stays full while there is no work; returns the count. */
function writeSome(
  fd: number,
  bytes: Uint8Array,
  from: number,
  {
    name,
    spinMs,
    whileFull,
  }: { readonly name: string; readonly spinMs: number; readonly whileFull?: (() => boolean) | undefined },
): number {
  let at = from;
  let fullSince = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
      fullSince = 0;
    } catch (error) {
      if (errnoOf(error) !== "EAGAIN") throw outputError(error, name);
      if (whileFull?.()) continue;
      const now = performance.now();
      if (fullSince === 0) fullSince = now;
      if (now - fullSince >= spinMs) return at;
      Atomics.wait(sleepCell, 0, 0, 0.05);
    }
  }
  return at;
}

async function writeRest(
  fd: number,
  bytes: Uint8Array,
  from: number,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  let at = from;
  let delay = 1;
  while (at < bytes.length) {
    await new Promise((resolve) => setTimeout(resolve, delay));
    if (signal?.aborted) throw abortReason(signal);
    const written = writeSome(fd, bytes, at, { name, spinMs: 0 });
    delay = written > at ? 1 : Math.min(2 * delay, MAX_DELAY_MS);
    at = written;
  }
}

function outputError(error: unknown, name: string): OciNixError {
  if (errnoOf(error) === "EPIPE") {
    return new OciNixError("output", `${name}: the reader went away before everything was written`, {
      cause: error,
    });
  }
  return new OciNixError("output", `${name}: cannot write: ${describeErrno(error)}`, { cause: error });
}
