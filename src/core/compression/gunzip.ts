import { createGunzip, type Gunzip } from "node:zlib";
import type { ByteSink } from "../byte-sink.js";
import { OciNixError } from "../errors.js";
import type { DecompressorOptions, Filter } from "./filter.js";

const CHUNK_BYTES = 256 * 1024;

/** Members may follow each other; nothing else may, but for padding where that is taken. */
export class GzipDecompressor implements Filter {
  readonly #sink: ByteSink;
  readonly #title: string;
  readonly #takesPadding: boolean;
  readonly #gunzip: Gunzip;
  /** Settles when a write is taken in, or all has come out. */
  #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;
  #error: unknown;
  #empty = true;
  #ended = false;
  #closed = false;

  constructor(sink: ByteSink, title: string, { takesPadding = false }: DecompressorOptions = {}) {
    this.#sink = sink;
    this.#title = title;
    this.#takesPadding = takesPadding;
    this.#gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
    this.#gunzip.on("data", (bytes: Buffer) => this.#pass(bytes));
    this.#gunzip.on("end", () => {
      this.#ended = true;
      this.#settle();
    });
    this.#gunzip.on("error", (error) => this.#fail(this.#damaged(error)));
  }

  write(bytes: Uint8Array): void | Promise<void> {
    if (this.#closed || bytes.length === 0) return undefined;
    if (this.#error !== undefined) throw this.#error;
    this.#empty = false;
    if (this.#ended) return this.#checkRest(bytes);
    const before = this.#gunzip.bytesWritten;
    return this.#wait((done) => this.#gunzip.write(bytes, done)).then(() => {
      if (this.#ended && !this.#closed) this.#checkRest(bytes.subarray(this.#gunzip.bytesWritten - before));
    });
  }

  async end(): Promise<void> {
    if (this.#closed) return;
    if (this.#error !== undefined) throw this.#error;
    // Node takes an empty file for an empty stream.
    if (this.#empty) throw this.#damaged(new Error("it is empty"));
    if (!this.#ended) await this.#wait(() => this.#gunzip.end());
  }

  close(): void {
    this.#closed = true;
    this.#gunzip.destroy();
    this.#settle();
  }

  /** Starts something that ends with `done`, with the stream's end, with an error or with {@link close}. */
  #wait(start: (done: () => void) => void): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      start(() => this.#settle());
    });
  }

  #settle(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#error !== undefined && !this.#closed) waiting?.reject(this.#error);
    else waiting?.resolve();
  }

  #pass(bytes: Buffer): void {
    if (this.#closed || this.#error !== undefined) return;
    try {
      const waiting = this.#sink.write(bytes);
      if (waiting === undefined) return;
      this.#gunzip.pause();
      waiting.then(
        () => this.#gunzip.resume(),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#error ??= error;
    this.#gunzip.destroy();
    this.#settle();
  }

  #checkRest(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const isZero = bytes.every((byte) => byte === 0);
    if (isZero && this.#takesPadding) return;
    this.#error = this.#damaged(new Error(`${isZero ? "zeros follow" : "something else follows"} the last member`));
    throw this.#error;
  }

  #damaged(cause: Error): OciNixError {
    return new OciNixError("invalid-input", `${this.#title}: damaged or cut off gzip data: ${cause.message}`, {
      cause,
    });
  }
}
