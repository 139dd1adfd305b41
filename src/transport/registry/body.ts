import { read } from "node:fs";
import { promisify } from "node:util";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { openForReading } from "../../core/file-range.js";

/** A blob's bytes on their way to a registry. They are asked for again where some did not arrive. */
export interface UploadBody {
  /** Bytes before this one cannot be had any more. */
  readonly first: number;
  /** Undefined where more may come. */
  readonly size: number | undefined;
  /** Why there will be no more bytes. */
  readonly failure: unknown;
  /** Bytes from an offset on; one reader at a time, an earlier one ends. */
  read(offset: number, end?: number): AsyncIterable<Uint8Array>;
  /** Waits until the bytes before `end` are there, or all. @returns how many there are of them */
  available(end: number): Promise<number>;
  close(): void;
}

const PIECE = 256 * 1024;
const readAsync = promisify(read);

/** A file that holds just the blob. @throws OciNixError `not-found`, `unreadable` or `changed` */
export function fileBody(path: string, size: number): UploadBody {
  const file = openForReading(path);
  const changed = (found: number) =>
    new OciNixError("changed", `${path} is ${found} bytes long, and was ${size}`, { hint: "run it again" });
  if (file.size !== size) {
    file.close();
    throw changed(file.size);
  }
  let failure: unknown;
  let isOpen = true;
  return {
    first: 0,
    size,
    get failure() {
      return failure;
    },
    async *read(offset, end = size) {
      for (let at = offset; at < end; ) {
        if (!isOpen) return;
        // Not used again: who takes it may still be sending it when the next piece is asked for.
        const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, end - at));
        const { bytesRead } = await readAsync(file.fd, piece, 0, piece.length, at).catch((error: unknown) => {
          failure = new OciNixError("unreadable", `cannot read ${path}: ${describeErrno(error)}`, { cause: error });
          throw failure;
        });
        if (bytesRead === 0) {
          failure = changed(at);
          throw failure;
        }
        yield piece.subarray(0, bytesRead);
        at += bytesRead;
      }
    },
    available: async (end) => Math.min(end, size),
    close() {
      if (isOpen) file.close();
      isOpen = false;
    },
  };
}

const SEGMENT = 1 << 20;
/** What is kept of the past: more than networks and proxies hold of what did not arrive. */
const WINDOW = 32 * SEGMENT;
/** How far the producer may be ahead of the network. */
const AHEAD = 8 * SEGMENT;
/** What the registry may want to have at once. */
const MAX_WINDOW = 128 * SEGMENT;

/** Bytes that are being produced, and of which the last {@link WINDOW} are kept. */
export class WindowBody implements UploadBody {
  /** Segments in use, the first being number {@link #base}, and those that can be used again. */
  #segments: Buffer[] = [];
  #spare: Buffer[] = [];
  #base = 0;
  #written = 0;
  /** Where the reader is. */
  #taken = 0;
  #ahead = AHEAD;
  #window = WINDOW;
  #state: "open" | "ended" | "dropped" = "open";
  #failure: unknown;
  #reader = 0;
  #waiting: (() => void)[] = [];

  get first(): number {
    return this.#state === "dropped" ? this.#written : this.#base * SEGMENT;
  }

  get size(): number | undefined {
    return this.#state === "ended" ? this.#written : undefined;
  }

  get failure(): unknown {
    return this.#failure;
  }

  /** Takes a copy; waits while the reader is far behind. @throws what {@link fail} was told */
  async push(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#state !== "open") return;
      const room = this.#taken + this.#ahead - this.#written;
      if (room <= 0) {
        await this.#change();
        continue;
      }
      const within = this.#written % SEGMENT;
      const count = Math.min(room, SEGMENT - within, bytes.length - at);
      if (within === 0) this.#segments.push(this.#spare.pop() ?? Buffer.allocUnsafeSlow(SEGMENT));
      (this.#segments.at(-1) as Buffer).set(bytes.subarray(at, at + count), within);
      this.#written += count;
      at += count;
      this.#forget();
      this.#changed();
    }
  }

  /** That was all. */
  end(): void {
    if (this.#state === "open") this.#state = "ended";
    this.#changed();
  }

  /** Takes what comes and keeps nothing of it. */
  drop(): void {
    this.#state = "dropped";
    this.close();
  }

  /** There will be no more bytes. */
  fail(reason: unknown): void {
    this.#failure ??= reason;
    this.#changed();
  }

  async *read(offset: number, end = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array, void, void> {
    const reader = ++this.#reader;
    this.#taken = offset;
    this.#changed();
    for (let at = offset; at < end; ) {
      if (this.#failure !== undefined) throw this.#failure;
      if (at === this.#written) {
        if (this.#state === "ended") return;
        await this.#change();
        if (reader !== this.#reader) return;
        continue;
      }
      const segment = this.#segments[Math.floor(at / SEGMENT) - this.#base] as Buffer;
      const within = at % SEGMENT;
      const count = Math.min(PIECE, SEGMENT - within, this.#written - at, end - at);
      yield segment.subarray(within, within + count);
      if (reader !== this.#reader) return;
      at += count;
      this.#taken = at;
      this.#changed();
    }
  }

  async available(end: number): Promise<number> {
    if (end - this.#taken > MAX_WINDOW) {
      throw new OciNixError("limit", `the registry wants chunks of more than ${MAX_WINDOW} bytes`, {
        hint: "--blob-cache keeps packed layers in files, which can be sent in chunks of any size",
      });
    }
    this.#ahead = Math.max(this.#ahead, end - this.#taken);
    this.#window = Math.max(this.#window, this.#ahead + AHEAD);
    this.#changed();
    while (this.#written < end && this.#state === "open") {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#change();
    }
    if (this.#failure !== undefined) throw this.#failure;
    return Math.min(end, this.#written);
  }

  /** Gives back the memory; what still comes is not kept. */
  close(): void {
    if (this.#state === "open") this.#state = "dropped";
    this.#reader++;
    this.#segments = [];
    this.#spare = [];
    this.#base = Math.ceil(this.#written / SEGMENT);
    this.#changed();
  }

  #forget(): void {
    while (this.#segments.length * SEGMENT > this.#window + SEGMENT) {
      this.#spare.push(this.#segments.shift() as Buffer);
      this.#base++;
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
