import { constants } from "node:os";

/**
 * What kind of failure this is; the command line maps it to an exit code and prints it in `--json` errors.
 *
 * `usage`: the call itself is wrong. `invalid-input`: a file or value has a wrong shape or content. `not-found`, `unreadable`:
 * something named is missing or cannot be read. `changed`: a file changed while it was read. `conflict`: two inputs want the
 * same place. `limit`: a documented limit is exceeded. `output`: the output cannot be written. `verification`: bytes do not
 * match what was recorded for them. `interrupted`: a signal or an AbortSignal. `unsupported`: a valid input we do not handle. `unavailable`: a
 * registry or daemon cannot be reached, or asks to come back later. `denied`: it wants other credentials.
 */
export type ErrorCode =
  | "usage"
  | "invalid-input"
  | "not-found"
  | "unreadable"
  | "changed"
  | "conflict"
  | "limit"
  | "output"
  | "verification"
  | "interrupted"
  | "unsupported"
  | "unavailable"
  | "denied";

/** Longest message and hint, in characters: they may quote input, which may be of any length. */
const MAX_LENGTH = 4000;
/** What is kept of the end of a longer one. */
const END_LENGTH = 800;

/** The one error class: `message` says what, where and what was found; `hint` says what to do next. Both are cut where they are absurdly long. */
export class OciNixError extends Error {
  override readonly name = "OciNixError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(cutShort(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint === undefined ? undefined : cutShort(options.hint);
  }
}

function cutShort(text: string): string {
  if (text.length <= MAX_LENGTH) return text;
  const start = text.slice(0, MAX_LENGTH - END_LENGTH - 100);
  const end = text.slice(-END_LENGTH);
  return `${start}… (${text.length - start.length - end.length} characters are left out) …${end}`;
}

/** The errno name (`ENOENT`, …) of a failed system call, or undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, errno } = error as NodeJS.ErrnoException;
  // libuv has no name for it: "Unknown system error -122".
  if (errno === -constants.errno.EDQUOT) return "EDQUOT";
  return typeof code === "string" ? code : undefined;
}

const ERRNO_WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EISDIR: "it is a directory",
  EFBIG: "larger than the file system or a limit (ulimit -f) allows",
  EDQUOT: "disk quota exceeded",
  EMFILE: "too many open files",
  ENFILE: "too many open files",
  ELOOP: "too many symbolic links",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
  ENOTDIR: "a parent is not a directory",
  EBADF: "it is not open for that",
  EIO: "input/output error",
  ENAMETOOLONG: "the path is too long",
  EXDEV: "it is on another file system",
  ESPIPE: "it is no regular file any more",
};

/** Words for a failed system call: `permission denied (EACCES)`; the error's own message where it is no system call. */
export function describeErrno(error: unknown): string {
  const code = errnoOf(error);
  if (code === undefined) return error instanceof Error ? error.message : String(error);
  const words = ERRNO_WORDS[code];
  return words === undefined ? (error as Error).message : `${words} (${code})`;
}

/** Runs something; an error of ours says where, too. */
export function atPlace<T>(where: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw placed(where, error);
  }
}

/** The error, with the place in front of its message where it is one of ours. */
export function placed(where: string, error: unknown): unknown {
  if (!(error instanceof OciNixError)) return error;
  const { code, message, hint, cause } = error;
  return new OciNixError(code, `${where}: ${message}`, { cause, ...(hint === undefined ? {} : { hint }) });
}

/** A word that is longer is no slip. */
const MAX_WORD = 300;

/** The candidate nearest to `word` by edit distance, if near enough to be a likely slip; ties go to the first in code point order. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_WORD) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of [...candidates].sort(compareStrings)) {
    // No fewer edits than one is longer than the other.
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Orders strings by UTF-16 code unit, which is code point order for ASCII and byte order for byte strings; never by locale. */
export function compareStrings(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Insertions, deletions, substitutions, and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (last[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min(substitution, (last[j] as number) + 1, (current[j - 1] as number) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] as number) + 1);
      }
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] as number;
}
