import { type TransferListItem, Worker } from "node:worker_threads";
import { OciNixError } from "../../core/errors.js";
import { Cell, CONTROL_LENGTH, type Report, type WorkerData } from "./shared.js";

/** Worker threads that work on one thing: if one fails, all have failed. */
export class WorkerTeam {
  /** Shared by all threads; see {@link Cell}. */
  readonly control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_LENGTH));
  readonly #onReport: (report: Exclude<Report, { kind: "failed" }>) => void;
  readonly #onFailure: (error: Error) => void;
  readonly #exits: Promise<unknown>[] = [];
  #failure: Error | undefined;

  /** @param onFailure told once, of the first failure: an error in a thread, or a thread that ended before its work did */
  constructor(onReport: (report: Exclude<Report, { kind: "failed" }>) => void, onFailure: (error: Error) => void) {
    this.#onReport = onReport;
    this.#onFailure = onFailure;
  }

  /** What the first failing thread failed of. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  start(data: WorkerData, transfer: readonly TransferListItem[] = []): void {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: data,
      transferList: [...transfer],
      // The caller's flags (a debugger, a profiler) are not for these.
      execArgv: [],
      // Little garbage is made, so a small nursery is enough: it is most of a thread's memory.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    worker.on("message", (report: Report) => {
      if (report.kind === "failed") this.#fail(errorOf(report));
      else this.#onReport(report);
    });
    worker.on("error", (error) => this.#fail(error));
    this.#exits.push(
      new Promise((resolve) => {
        worker.on("exit", (code) => {
          if (code !== 0) this.#fail(new Error(`a worker thread ended with exit code ${code}`));
          resolve(undefined);
        });
      }),
    );
  }

  /** Stops all threads and waits for their end. */
  async close(): Promise<void> {
    Atomics.store(this.control, Cell.stop, 1);
    Atomics.add(this.control, Cell.tick, 1);
    for (let cell = 0; cell < CONTROL_LENGTH; cell++) Atomics.notify(this.control, cell);
    await Promise.all(this.#exits);
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#onFailure(error);
  }
}

function errorOf({ code, message, hint }: Extract<Report, { kind: "failed" }>): Error {
  if (code === undefined) return new Error(message);
  return new OciNixError(code, message, hint === undefined ? {} : { hint });
}
