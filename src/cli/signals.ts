import { OciNixError } from "../index.js";

/** How long an interrupted command may take to put things away. */
const GRACE_MS = 2000;
const SAME_SIGNAL_MS = 300;

/** Exit codes as shells give them: 128 and the signal's number. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

type SignalName = keyof typeof EXIT_CODES;

const NAMES = Object.keys(EXIT_CODES) as readonly SignalName[];

/** Turns signals into an AbortSignal while a command runs. */
export class Interrupts {
  readonly #controller = new AbortController();
  readonly #onGraceOver: (reason: OciNixError) => void;
  #first: { readonly name: SignalName; readonly at: number } | undefined;
  #grace: NodeJS.Timeout | undefined;

  /** @param onGraceOver told before the process ends by the signal, because the command did not end by itself */
  constructor(onGraceOver: (reason: OciNixError) => void) {
    this.#onGraceOver = onGraceOver;
    for (const name of NAMES) process.on(name, this.#receive);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The exit code of the signal that came, or undefined where none did. */
  get exitCode(): number | undefined {
    return this.#first === undefined ? undefined : EXIT_CODES[this.#first.name];
  }

  /** Signals have their usual effect again. */
  stop(): void {
    clearTimeout(this.#grace);
    for (const name of NAMES) process.off(name, this.#receive);
  }

  readonly #receive = (name: SignalName): void => {
    if (this.#first !== undefined) {
      // timeout(1) sends its signal to the process and to its group: those two are one. Another does not wait for anybody.
      if (performance.now() - this.#first.at > SAME_SIGNAL_MS) this.#endBy(name);
      return;
    }
    this.#first = { name, at: performance.now() };
    const reason = new OciNixError("interrupted", `interrupted by ${name}`);
    this.#controller.abort(reason);
    this.#grace = setTimeout(() => {
      this.#onGraceOver(reason);
      this.#endBy(name);
    }, GRACE_MS);
  };

  /** process.exit would wait for a thread that is in a system call, on a FIFO that nobody writes to for example. */
  #endBy(name: SignalName): void {
    this.stop();
    process.kill(process.pid, name);
  }
}
