import { OciNixError } from "../../../src/core/errors.js";

/** Longest that one input of a few hundred kilobytes may keep a parser busy, whatever else the machine does. */
const MAX_MS = 5000;
/** Longest message: it goes to a terminal, or into a log. */
const MAX_MESSAGE = 4000;

/**
 * Runs a parser on hostile input.
 * @returns whether it took the input
 * @throws where it did anything but give a value or an OciNixError, in bounded time
 */
export async function takes(run: () => unknown): Promise<boolean> {
  const start = performance.now();
  const taken = await isTaken(run);
  checkPrototypes();
  const spent = performance.now() - start;
  if (spent > MAX_MS) throw new Error(`it took ${Math.round(spent)} ms`);
  return taken;
}

async function isTaken(run: () => unknown): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    if (
      /Cannot read propert|is not a function|is not iterable|undefined \(|\[object Object\]|stack size/.test(
        error.message,
      )
    ) {
      throw new Error(`a message that shows a defect: ${error.message.slice(0, 500)}`);
    }
    if (error.message.length > MAX_MESSAGE || (error.hint?.length ?? 0) > MAX_MESSAGE) {
      throw new Error(`a message of ${error.message.length} characters: ${error.message.slice(0, 200)}`);
    }
    return false;
  }
}

function checkPrototypes(): void {
  const { polluted } = {} as { polluted?: unknown };
  if (polluted !== undefined || Object.keys(Object.prototype).length > 0 || Object.keys(Array.prototype).length > 0) {
    throw new Error("the prototype of all objects was changed");
  }
}
